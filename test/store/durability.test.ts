import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, chownSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { findCanary, makeCanary } from "../support/canary.ts";
import { fields, newCredential, newVault, reveal } from "../support/vault-fixture.ts";

const WRITER = join(import.meta.dirname, "../support/vault-writer.ts");
const KILL_ROUNDS = 20;

/** Starts the writer; `acknowledged` fills up with the names it reports. */
function startWriter(directory: string, prefix: string, count: number) {
  const child = spawn(process.execPath, [WRITER, directory, prefix, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  let wake = (): void => {};
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    wake();
  });
  /** Once it has said as many lines; the first is "ready". */
  const said = async (lines: number): Promise<void> => {
    while (output.split("\n").length <= lines) await new Promise<void>((resolve) => (wake = resolve));
  };
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
  // A line cut by the kill was not acknowledged.
  const acknowledged = () =>
    output
      .slice(0, output.lastIndexOf("\n"))
      .split("\n")
      .filter((line) => line.startsWith(prefix));
  return { child: child as ChildProcess, said, closed, acknowledged };
}

function assertStored(vault: Vault, names: readonly string[]): void {
  const byName = new Map(vault.listCredentials().map((credential) => [credential.name, credential]));
  for (const name of names) {
    const credential = byName.get(name);
    assert.ok(credential, `${name} was acknowledged and is lost`);
    assert.deepEqual(reveal(vault.openFields(credential.id, 1, "test")), { api_key: `value of ${name}` });
  }
}

describe("G14 durable", () => {
  it(`loses no acknowledged write in ${KILL_ROUNDS} rounds of kill -9, and the chain stays whole`, async (t) => {
    const { vault, directory, unlocker, options } = await newVault(t);
    vault.close();
    let total = 0;
    for (let round = 0; round < KILL_ROUNDS; round++) {
      const writer = startWriter(directory, `r${round}`, 10_000);
      // After some writes, at a moment that differs within the next one.
      await writer.said(2 + (round % 4));
      await delay(round % 7);
      writer.child.kill("SIGKILL");
      await writer.closed;
      const again = openVault(directory, options);
      await again.unseal([unlocker]);
      const result = again.verifyAudit();
      assert.equal(result.ok, true, JSON.stringify(result));
      assertStored(again, writer.acknowledged());
      total += writer.acknowledged().length;
      again.close();
    }
    assert.ok(total > KILL_ROUNDS, `only ${total} writes were acknowledged: the test proved little`);
    const leftovers = readdirSync(directory).filter((name) => name.endsWith(".new"));
    assert.deepEqual(leftovers, []);
  });

  it("keeps one chain while three processes write, and each sees the others' changes", async (t) => {
    const { vault, directory } = await newVault(t);
    const version = vault.dataVersion();
    const writers = ["a", "b"].map((prefix) => startWriter(directory, prefix, 25));
    await Promise.all(writers.map((writer) => writer.said(1)));
    for (let i = 0; i < 25; i++) {
      vault.addCredential(newCredential(`own-${i}`), fields({ api_key: `value of own-${i}` }), "ana");
      await delay(1);
    }
    await Promise.all(writers.map((writer) => writer.closed));
    assert.equal(vault.listCredentials().length, 75);
    assertStored(vault, ["own-24", ...writers.flatMap((writer) => writer.acknowledged())]);
    const result = vault.verifyAudit();
    assert.equal(result.ok, true, JSON.stringify(result));
    assert.ok(vault.dataVersion() > version);
  });

  it("names a directory that cannot be written", async (t) => {
    const { vault, directory } = await newVault(t);
    vault.close();
    // Root may write everywhere, so as root the attempt is made by a process of another user.
    const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    if (nobody.uid !== undefined)
      for (const path of [directory, ...paths(directory)]) chownSync(path, nobody.uid, nobody.gid);
    chmodSync(directory, 0o500);
    const script = `
      const { openVault } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/store/vault.ts"))});
      try { openVault(process.argv[1]); } catch (error) { process.stdout.write(error.code + " " + error.message); }`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, directory], {
      stdio: ["ignore", "pipe", "pipe"],
      ...nobody,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await new Promise((resolve) => child.on("close", resolve));
    chmodSync(directory, 0o700);
    assert.match(output, /^read_only .*vault\.db: cannot be written; make .* writable/);
  });
});

describe("G7 no-leak", () => {
  it("keeps keys, tokens and passphrases out of every file of the data directory, with modes 0600 and 0700", async (t) => {
    const { vault, directory } = await newVault(t);
    const canaries = [makeCanary(), makeCanary({ special: true })];
    for (const [at, canary] of canaries.entries()) {
      const { id } = vault.addCredential(newCredential(`c${at}`), fields({ api_key: canary.text }), "ana");
      vault.addVersion(`c${at}`, fields({ api_key: canary.text }), "current", "ana");
      vault.openFields(id, 1, "test");
    }
    vault.removeCredential("c0", "ana");
    const { token } = vault.addClientToken("app", {}, "ana");
    canaries.push({ text: token.slice(15), bytes: Buffer.from(token.slice(15)) });
    const files = paths(directory);
    assert.ok(files.some((path) => path.endsWith("-wal")));
    for (const path of files) {
      for (const canary of canaries) assert.deepEqual(findCanary([readFileSync(path)], canary), [], path);
      assert.equal(statSync(path).mode & 0o777, 0o600, path);
    }
    assert.equal(statSync(directory).mode & 0o777, 0o700);
  });

  it("names no secret in any error or audit entry", async (t) => {
    const { vault } = await newVault(t);
    const canary = makeCanary();
    vault.addCredential(newCredential("a"), fields({ api_key: canary.text }), "ana");
    const messages: string[] = [];
    const attempts = [
      () => vault.addCredential(newCredential("a"), fields({ api_key: canary.text }), "ana"),
      () => vault.addCredential(newCredential("b", { hosts: [] }), fields({ api_key: canary.text }), "ana"),
      () => vault.addVersion("a", fields({ other: canary.text }), "current", "ana"),
      () => vault.addVersion("zz", fields({ api_key: canary.text }), "current", "ana"),
    ];
    for (const attempt of attempts) {
      assert.throws(attempt, (error) => messages.push(String(error), JSON.stringify(error)) > 0);
    }
    assert.deepEqual(findCanary([...messages, JSON.stringify(vault.listAudit())], canary), []);
  });
});

function paths(directory: string): string[] {
  return readdirSync(directory).map((name) => join(directory, name));
}

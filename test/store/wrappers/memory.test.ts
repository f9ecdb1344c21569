import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { prepareShares, replaceShares } from "../../../src/store/prepared-wrapper.ts";
import { memoryIsReadable, scanMemory } from "../../guarantees/memory-scan.ts";
import { startAws } from "../../support/aws-server.ts";
import { requires } from "../../support/requirement.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { JWT, startTransit } from "../../support/transit-server.ts";
import { newVault, START_MS } from "../../support/vault-fixture.ts";

const OPENER = join(import.meta.dirname, "../../support/wrapper-opener.ts");

/** Opens the vault in a process of its own and looks for the needles in its memory afterwards. */
async function assertForgotten(t: TestContext, directory: string, unlocker: object, needles: Record<string, Buffer>) {
  const child = spawn(process.execPath, [OPENER, directory, JSON.stringify(unlocker)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [said] = (await Promise.race([once(child.stdout, "data"), once(child, "exit")])) as [Buffer];
  assert.equal(String(said), "idle\n", "the opener failed");
  const { hits, bytes } = scanMemory(
    child.pid ?? 0,
    new Map(Object.entries({ ...needles, self: Buffer.from(directory) })),
  );
  assert.ok(bytes > 1_000_000 && hits.some(({ needle }) => needle === "self"), "the scan found nothing that is there");
  assert.deepEqual(
    hits.filter(({ needle }) => needle !== "self").map(({ needle, mapping }) => `${needle} in ${mapping}`),
    [],
  );
}

/*
 * What this process sends, reads from files and derives is ours to wipe. What arrives over a connection or a pipe also
 * passes through buffers of Node and OpenSSL that JavaScript cannot reach, and stays there until they are used again:
 * the text form of a received key is therefore not among the needles, its bytes are.
 */

test("G2: no login secret that was sent and no decoded key is left in memory after transit has opened the vault", async (t) => {
  if (!(await requires(t, "permission to read /proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const { vault, unlocker, directory } = await newVault(t);
  const server = await startTransit(t);
  const jwt = join(tempDir(t), "jwt");
  writeFileSync(jwt, JWT);
  const transit = server.unlocker({ kubernetes: { role: "sidekey", jwt, mount: "kubernetes" } }, { timeoutMs: 60_000 });
  await vault.addWrapper(transit, [unlocker], "ana");
  const [, encrypt] = server.requests;
  const { plaintext = "" } = JSON.parse(encrypt?.body.toString() ?? "{}") as { plaintext?: string };
  await assertForgotten(t, directory, transit, {
    key: Buffer.from(plaintext, "base64"),
    jwt: Buffer.from(JWT),
  });
  const tokens = server.requests.flatMap((request) => request.values("x-vault-token"));
  assert.equal(new Set(tokens).size, 6);
});

test("G2: no credential from a file and no decoded key is left in memory after KMS has opened the vault", async (t) => {
  if (!(await requires(t, "permission to read /proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const { vault, unlocker, directory } = await newVault(t);
  const server = await startAws(t);
  const { id, secret, token } = server.issue();
  const file = join(tempDir(t), "credentials");
  writeFileSync(file, `${id}\n${secret}\n${token}\n`);
  const kms = server.unlocker({ file, profile: "default" }, { timeoutMs: 60_000 });
  await vault.addWrapper(kms, [unlocker], "ana");
  const [encrypt] = server.requests;
  const { Plaintext = "" } = JSON.parse(encrypt?.body.toString() ?? "{}") as { Plaintext?: string };
  const needles = { secret: Buffer.from(secret), token: Buffer.from(token ?? "") };
  await assertForgotten(t, directory, kms, { key: Buffer.from(Plaintext, "base64"), ...needles });
});

test("G2: nothing of shares is left in memory after they have opened the vault", async (t) => {
  if (!(await requires(t, "permission to read /proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const { vault, unlocker, directory } = await newVault(t);
  const made = await prepareShares(vault, [unlocker], { threshold: 2, count: 2 }, START_MS);
  const texts = made.shares.map((share) => share.use((bytes) => Buffer.from(bytes)));
  await replaceShares(vault, made, made.shares, "ana");
  const sharesFile = join(tempDir(t), "shares");
  writeFileSync(sharesFile, Buffer.concat(texts));
  const needles = Object.fromEntries(texts.map((text, index) => [`share ${index + 1}`, text.subarray(60, 120)]));
  await assertForgotten(t, directory, { kind: "shares", sharesFile }, needles);
});

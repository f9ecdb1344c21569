import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import SQLite from "better-sqlite3";
import { randomBytes } from "../../src/store/crypto.ts";
import { type CliPlace, type CliRun, cliPlace, cutOff, startCli } from "../support/cli-process.ts";

const MAIN = resolve(import.meta.dirname, "../../src/cli/main.ts");

/** An initialized directory, made once; every test works on its own copy. */
const template = mkdtempSync(join(tmpdir(), "sidekey-test-"));

before(() => {
  const env = { PATH: process.env.PATH, HOME: template };
  const init = spawnSync(process.execPath, [MAIN, "init"], { cwd: template, env, encoding: "utf8" });
  assert.equal(init.status, 0, init.stderr);
  cutOff(join(template, "config"));
});

after(() => rmSync(template, { recursive: true, force: true }));

function freshPlace(t: TestContext): CliPlace {
  const place = cliPlace(t);
  cpSync(template, place.dir, { recursive: true });
  chmodSync(place.data, 0o700);
  return place;
}

/** One clear message with what to do, no stack, no "this is a bug". */
function assertClear({ all, code }: CliRun, expected: { code: number; says: RegExp }): void {
  assert.equal(code, expected.code, all);
  assert.match(all, expected.says);
  assert.doesNotMatch(all, /internal error|\n\s+at /);
  assert.ok(all.length < 3000, `${all.length} characters`);
}

describe("bad input", () => {
  test("unusable policy files are told by name, the same way to `policy check` and to the daemon", async (t) => {
    const { run, config } = freshPlace(t);
    const file = join(config, "policy.yaml");
    const cases: readonly (readonly [content: string | Buffer | null, says: RegExp])[] = [
      ["version: 1\nroutes:\n\tfmp: 1\n", /policy\.yaml:3:1: Tabs/],
      [Buffer.alloc(2 * 1024 * 1024, "x"), /policy\.yaml is larger than 1 MiB/],
      [null, /policy\.yaml is not a regular file/],
    ];
    for (const [content, says] of cases) {
      rmSync(file, { force: true });
      if (content === null) mkdirSync(file);
      else writeFileSync(file, content);
      assertClear(await run(["policy", "check"]), { code: 1, says });
    }
    assertClear(await run(["serve"]), { code: 1, says: /policy\.yaml is not a regular file; point `policy`/ });
  });

  test("a mistake in daemon.yaml is told once, by doctor too", async (t) => {
    const { run, config } = freshPlace(t);
    writeFileSync(join(config, "daemon.yaml"), "version: 1\nnonsense: 1\n");
    const says = /daemon\.yaml:2 nonsense: is not a known key/;
    assertClear(await run(["credential", "list"]), { code: 1, says });
    const doctor = await run(["doctor"]);
    assertClear(doctor, { code: 1, says });
    assert.equal(doctor.all.match(/nonsense/g)?.length, 1);
    rmSync(join(config, "daemon.yaml"));
    mkdirSync(join(config, "daemon.yaml"));
    assertClear(await run(["credential", "list"]), { code: 1, says: /daemon\.yaml cannot be read \(EISDIR\); check/ });
  });

  test("arguments that cannot be meant are exit 2, and a huge one does not fill the screen", async (t) => {
    const { run } = freshPlace(t);
    const huge = "a".repeat(10_240);
    const cases: readonly (readonly [args: readonly string[], says: RegExp])[] = [
      [["client", "add", "a/b"], /client "a\/b": use 1 to 64/],
      [["client", "add", huge], /\(\d+ characters\)/],
      [["client", "add", "app", "--label", "x\ny"], /label .*no line breaks/],
      [["env", "--address", "x y"], /--address takes host:port/],
      [["env", "--client", "a\nb"], /--client takes the name/],
      [["env", "--trust-dir", "/a\nb"], /control character/],
      [["credential", "add", "fmp", "--stdin", "--name", huge], /--name takes up to 64/],
      [["credential", "add", "fmp", "--stdin", "--host", "http://x/y"], /--host "http:\/\/x\/y" is no host of fmp/],
    ];
    await Promise.all(cases.map(async ([args, says]) => assertClear(await run(args), { code: 2, says })));
    assert.equal((await run(["client", "list"])).stdout.trimEnd().split("\n").length, 2, "no token was made");
  });

  test("keys that are empty, too long or hold odd bytes are refused and nothing is stored", async (t) => {
    const { run } = freshPlace(t);
    const key = "abcdefghijklmnopqrstuvwxyz012345";
    const add = ["credential", "add", "fmp", "--stdin"];
    for (const [input, code, says] of [
      ["", 1, /api_key: is empty/],
      [`${key}\n\n`, 1, /ends with white space or a line break/],
      [`ab\0${key.slice(3)}`, 1, /byte 3 is a space, a control character/],
      [Buffer.alloc(1_000_000, "a"), 2, /stdin is longer than 65536 bytes/],
    ] as const) {
      assertClear(await run(add, { input }), { code, says });
    }
    assert.doesNotMatch((await run(["credential", "list"])).all, /fmp/);
    assert.equal((await run(add, { input: `${key}\r\n` })).code, 0, "one line end, also of Windows, is not the key's");
  });

  test("a root key that does not fit keeps the vault sealed: exit 3, the file named once, with what to do", async (t) => {
    const { run, data } = freshPlace(t);
    const file = join(data, "root.key");
    const right = readFileSync(file);
    const list = ["credential", "list"];
    writeFileSync(file, `sidekey root key v1\n${randomBytes(32).toString("base64")}\n`);
    const other = await run(list);
    assertClear(other, { code: 3, says: /root\.key is the key of another vault.*put the right key file back/ });
    assert.equal(other.all.match(/root\.key/g)?.length, 1);
    writeFileSync(file, right);
    chmodSync(file, 0o640);
    assertClear(await run(list), { code: 3, says: /mode 640 lets other users in; run: chmod 600/ });
    chmodSync(file, 0o600);
    truncateSync(file, 40);
    assertClear(await run(list), { code: 3, says: /is not a sidekey root key file; restore it from your copy/ });
    rmSync(file);
    assertClear(await run(["init"]), { code: 3, says: /root\.key does not exist; put the root key file back/ });
    assert.ok(!existsSync(file), "no new key in its place");
  });

  test("a short passphrase fails without a trace; without a terminal the way out is named", async (t) => {
    const { run, data } = cliPlace(t);
    const init = ["init", "--passphrase"];
    assertClear(await run([...init, "--stdin"], { input: "short" }), { code: 1, says: /less than 8 bytes/ });
    assert.ok(!existsSync(join(data, "vault.db")));
    assertClear(await run(init), { code: 1, says: /no terminal to ask at\n {2}give the passphrase with --stdin/ });
    assert.equal((await run([...init, "--stdin"], { input: "correct horse" })).code, 0);
    const wrong = await run([...init, "--stdin"], { input: "wrong horse 1" });
    assertClear(wrong, { code: 3, says: /the passphrase is wrong/ });
    assertClear(await run(["credential", "list"]), {
      code: 3,
      says: /no terminal to ask at; run it at one, or name a key file/,
    });
  });

  test("a vault.db that is damaged, foreign or of a newer version is refused and left as it is", async (t) => {
    const { run, data } = freshPlace(t);
    const file = join(data, "vault.db");
    const good = readFileSync(file);
    const foreign = join(data, "..", "foreign.db");
    new SQLite(foreign).exec("CREATE TABLE t (x)").close();
    const damaged = /vault\.db: is damaged; restore it from a backup/;
    for (const [content, says] of [
      [randomBytes(20_000), damaged],
      [good.subarray(0, 20_000), damaged],
      [Buffer.alloc(0), /vault\.db: this is not a sidekey vault; restore it/],
      [readFileSync(foreign), /vault\.db: this is not a sidekey vault; restore it/],
    ] as const) {
      writeFileSync(file, content);
      assertClear(await run(["credential", "list"]), { code: 1, says });
      assert.ok(readFileSync(file).equals(content), "the file is as it was");
    }
    writeFileSync(file, good);
    setUserVersion(file);
    assertClear(await run(["up"]), { code: 1, says: /vault\.db: schema 99 was written by a newer sidekey.*upgrade/ });
  });

  test("a lost anchor or a lost vault.db is told, and no new vault takes the place of the old one", async (t) => {
    const { run, data } = freshPlace(t);
    const anchor = join(data, "audit.anchor");
    const text = readFileSync(anchor);
    rmSync(anchor);
    const verified = await run(["audit", "verify"]);
    assertClear(verified, { code: 1, says: /^sidekey: audit: audit\.anchor is missing\n {2}keep the data directory/ });
    assert.doesNotMatch(verified.all, /Run `sidekey audit verify`/, "it is what was run");
    writeFileSync(anchor, text, { mode: 0o600 });
    rmSync(join(data, "vault.db"));
    assertClear(await run(["up"]), { code: 1, says: /audit\.anchor belongs to a vault.*\n {2}put vault\.db back/ });
    assert.ok(!existsSync(join(data, "vault.db")));
  });

  test("a usage.db that cannot be used says how to go on without it", async (t) => {
    const { run, data } = freshPlace(t);
    const file = join(data, "usage.db");
    writeFileSync(file, randomBytes(30_000), { mode: 0o600 });
    const says = /usage\.db: is damaged; restore it from a backup, or move it .* to begin an empty one/;
    assertClear(await run(["usage"]), { code: 1, says });
    assertClear(await run(["serve"]), { code: 1, says });
    assert.match((await run(["doctor"])).all, /^fail {2}usage .*is damaged/m);
    rmSync(file);
    new SQLite(file).close();
    chmodSync(file, 0o600);
    setUserVersion(file);
    assertClear(await run(["usage"]), { code: 1, says: /usage\.db: (schema 99 was written by a newer|this is not)/ });
  });

  test("an occupied port, a second daemon and a path too long for the control socket", async (t) => {
    const { run, dir, config } = freshPlace(t);
    const taken = createServer().listen(0, "127.0.0.1");
    t.after(() => taken.close());
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const file = join(config, "daemon.yaml");
    const listen = (proxy: number): void =>
      writeFileSync(file, `version: 1\nlisten: { proxy: "127.0.0.1:${proxy}", metrics: null }\n`);
    listen(port);
    assertClear(await run(["serve"]), { code: 1, says: /listen\.proxy: cannot listen on .* the port is in use; stop/ });
    taken.close();
    await once(taken, "close");
    const child = startCli(t, dir, ["serve"]);
    await new Promise<void>((ready, reject) => {
      child.stderr.on("data", (chunk: Buffer) => String(chunk).includes("listens on") && ready());
      child.once("close", () => reject(new Error("the daemon ended")));
    });
    const second = await run(["serve"]);
    assertClear(second, { code: 1, says: /another sidekey daemon already serves .*\n {2}`sidekey status` shows it/ });
    child.removeAllListeners("close");
    child.kill("SIGTERM");
    await once(child, "close");
    const long = join(dir, "d".repeat(100));
    assertClear(await run(["--data", long, "init"]), { code: 1, says: /too long a path.*\n {2}name a shorter one/ });
    assert.ok(!existsSync(long));
  });
});

function setUserVersion(file: string): void {
  const db = new SQLite(file);
  db.pragma("user_version = 99");
  db.close();
}

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { cliPlace, initializedPlace } from "../../support/cli-process.ts";

const PASSPHRASE = "CANARY correct horse";

describe("sidekey init", () => {
  test("twice is as good as once, and the token is shown once", async (t) => {
    const { run, dir } = cliPlace(t);
    const first = await run(["init"]);
    assert.equal(first.code, 0, first.all);
    assert.equal(first.stdout.match(/skc_/g)?.length, 1);
    const second = await run(["init"]);
    assert.equal(second.code, 0, second.all);
    assert.doesNotMatch(second.all, /skc_/);
    assert.match(second.stderr, /sidekey client add app/);
    assert.equal(statSync(join(dir, "data")).mode & 0o777, 0o700);
    const audit = await run(["audit", "verify"]);
    assert.match(audit.stdout, /^ok {4}\d+ entries, chain and anchor intact/);
  });

  test("--data and --config, or their variables, say where", async (t) => {
    const { run, dir } = cliPlace(t);
    assert.equal((await run(["--data", "here", "--config", "etc/sidekey", "init"])).code, 0);
    assert.ok(statSync(join(dir, "here", "vault.db")).isFile());
    const env = { SIDEKEY_DATA: join(dir, "here"), SIDEKEY_CONFIG: join(dir, "etc/sidekey") };
    assert.equal((await run(["vault", "status"], { env })).code, 0);
    assert.equal((await run(["vault", "status", "--data", "here", "--config", "etc/sidekey"])).code, 0);
  });

  test("with a passphrase there is no key file, and only the passphrase opens the vault", async (t) => {
    const { run, data, config } = cliPlace(t);
    const made = await run(["init", "--passphrase", "--stdin"], { input: `${PASSPHRASE}\n` });
    assert.equal(made.code, 0, made.all);
    assert.throws(() => statSync(join(data, "root.key")));
    assert.match(readFileSync(join(config, "daemon.yaml"), "utf8"), /^unlock: \[ \{ passphrase: prompt \} \]$/m);
    const wrong = await run(["init", "--passphrase", "--stdin"], { input: "CANARY wrong horse" });
    assert.equal(wrong.code, 3, wrong.all);
    assert.ok(![made, wrong].some((output) => output.all.includes("CANARY")));
  });

  test("a wrong root key, or one that others can read, is exit 3 and says what to do", async (t) => {
    const { run, data } = await initializedPlace(t);
    const key = join(data, "root.key");
    copyFileSync(key, `${key}.kept`);
    chmodSync(key, 0o644);
    const open = await run(["credential", "list"]);
    assert.deepEqual([open.code, /chmod 600 .*root\.key/.test(open.stderr)], [3, true], open.all);
    const other = await initializedPlace(t);
    writeFileSync(key, readFileSync(join(other.data, "root.key")));
    chmodSync(key, 0o600);
    for (const args of [["credential", "list"], ["client", "add", "app"], ["vault", "status"], ["init"]]) {
      const sealed = await run(args);
      assert.equal(sealed.code, 3, `${args.join(" ")}: ${sealed.all}`);
    }
    assert.equal((await run(["doctor"])).code, 1);
  });

  test("a data directory that cannot be written is told in words", async (t) => {
    const { run, dir, data } = await initializedPlace(t);
    writeFileSync(join(dir, "file"), "");
    const under = await run(["--data", "file/data", "init"]);
    assert.equal(under.code, 1);
    assert.match(under.stderr, /^sidekey: .*not a directory/m);
    chmodSync(data, 0o755);
    const open = await run(["init"]);
    assert.equal(open.code, 1);
    assert.ok(open.stderr.includes(`chmod 700 ${data}`), open.all);
  });

  test("a data directory on a read-only mount is told in words", async (t) => {
    const { run, dir } = cliPlace(t);
    mkdirSync(join(dir, "fixed"));
    chmodSync(join(dir, "fixed"), 0o500);
    // Root may write anywhere, so only another user can see this.
    if (spawnSync("sh", ["-c", 'test -w "$0"', join(dir, "fixed")]).status === 0) return t.skip("runs as root");
    const refused = await run(["--data", "fixed/data", "init"]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /permission denied \(EACCES\)/);
  });

  test("a daemon.yaml with a mistake names file, line and field", async (t) => {
    const { run, config } = await initializedPlace(t);
    appendFileSync(join(config, "daemon.yaml"), "secret: {}\n");
    const refused = await run(["credential", "list"]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^sidekey: daemon\.yaml:\d+ secret: /);
  });
});

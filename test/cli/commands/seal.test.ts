import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { findCanary } from "../../support/canary.ts";
import { type CliPlace, cliPlace, initializedPlace } from "../../support/cli-process.ts";
import { FMP_KEY } from "../../support/submission-fixture.ts";

const CANARY = { text: FMP_KEY, bytes: Buffer.from(FMP_KEY) };

/** A vault, and another machine that got its public keys and nothing else. */
async function twoMachines(t: TestContext): Promise<{ vault: CliPlace; sender: CliPlace }> {
  const vault = await initializedPlace(t);
  const sender = cliPlace(t);
  const exported = await vault.run(["vault", "public-key", "--out", join(sender.dir, "keys")]);
  assert.equal(exported.code, 0, exported.all);
  return { vault, sender };
}

const SEAL = ["seal", "fmp", "--public-key", "keys", "--stdin"];

describe("sidekey vault public-key", () => {
  test("writes the same keys to stdout and into a file, which it does not overwrite", async (t) => {
    const { run, dir } = await initializedPlace(t);
    const shown = await run(["vault", "public-key"]);
    assert.equal(shown.code, 0, shown.all);
    const written = await run(["vault", "public-key", "--out", "keys"]);
    assert.equal(written.code, 0, written.all);
    assert.equal(readFileSync(join(dir, "keys"), "utf8"), shown.stdout);
    const checksum = /^checksum: ([0-9a-f]{32})$/m.exec(shown.stdout)?.[1] ?? "none";
    assert.ok(shown.stderr.includes(checksum) && written.stderr.includes(checksum));
    const again = await run(["vault", "public-key", "--out", "keys"]);
    assert.equal(again.code, 1, again.all);
    assert.match(again.stderr, /keys exists already; nothing was written/);
  });
});

describe("sidekey seal", () => {
  test("needs no vault, no data directory, no config and no daemon, and leaves none behind", async (t) => {
    const { sender } = await twoMachines(t);
    const sealed = await sender.run(SEAL, { input: `${FMP_KEY}\n` });
    assert.equal(sealed.code, 0, sealed.all);
    assert.match(sealed.stdout, /^-----BEGIN SIDEKEY SEALED SUBMISSION-----\nformat: 1\nvault: /);
    assert.match(sealed.stdout, /\nprovider: fmp\nname: fmp-main\nhosts: financialmodelingprep\.com\n/);
    const checksum = /^checksum: (.*)$/m.exec(readFileSync(join(sender.dir, "keys"), "utf8"))?.[1] ?? "none";
    assert.ok(sealed.stderr.includes(`public keys ${checksum}`), sealed.stderr);
    assert.match(sealed.stderr, /^check code [0-9a-f]{12};/m);
    assert.deepEqual(readdirSync(sender.dir), ["keys"]);
    assert.deepEqual(findCanary([sealed.all], CANARY), []);
  });

  test("checks the key's shape, the provider, the environment and the hosts as `credential add` does", async (t) => {
    const { sender } = await twoMachines(t);
    const unlike = await sender.run(SEAL, { input: "short" });
    assert.equal(unlike.code, 1, unlike.all);
    assert.match(unlike.stderr, /api_key: has 5 characters, expected 32/);
    const forced = await sender.run([...SEAL, "--no-validate"], { input: "short" });
    assert.equal(forced.code, 0, forced.all);
    const broken = await sender.run([...SEAL, "--no-validate"], { input: "a\r\nx-evil: 1" });
    assert.equal(broken.code, 1, broken.all);
    for (const [wrong, words] of [
      [["seal", "nope", "--public-key", "keys"], /no such provider/],
      [[...SEAL, "--environment", "paper"], /fmp has no environment of that name/],
      [[...SEAL, "--host", "attacker.example"], /is no host of fmp/],
      [[...SEAL, "--category", "unheard-of"], /has no key of category unheard-of/],
      [[...SEAL, "--expires", "2001-01-01"], /--expires is in the past/],
      [["seal", "fmp", "--stdin"], /option --public-key <file> needs a value|--public-key/],
    ] as const) {
      const refused = await sender.run(wrong, { input: FMP_KEY });
      assert.ok(refused.code !== 0, refused.all);
      assert.match(refused.stderr, words);
      assert.equal(refused.stdout, "");
    }
  });

  test("refuses a public key file that is missing, damaged, of another kind or huge, before asking for the key", async (t) => {
    const { sender } = await twoMachines(t);
    const good = readFileSync(join(sender.dir, "keys"), "utf8");
    writeFileSync(join(sender.dir, "cut"), good.slice(0, 150));
    writeFileSync(join(sender.dir, "edited"), good.replace("generation", "").replace(" 1 ", " 2 "));
    writeFileSync(join(sender.dir, "huge"), "x".repeat(100_000));
    for (const [file, words] of [
      ["absent", /no such file/],
      ["cut", /the public key file is damaged/],
      ["edited", /the public key file is damaged/],
      ["huge", /huge is larger than 64 KiB/],
    ] as const) {
      const refused = await sender.run(["seal", "fmp", "--public-key", file, "--stdin"], { input: FMP_KEY });
      assert.ok(refused.code === 1 || refused.code === 2, refused.all);
      assert.match(refused.stderr, words);
    }
  });

  test("writes into a file that is not there yet, and into no other", async (t) => {
    const { sender } = await twoMachines(t);
    const first = await sender.run([...SEAL, "--out", "main.sealed"], { input: FMP_KEY });
    assert.equal(first.code, 0, first.all);
    const written = readFileSync(join(sender.dir, "main.sealed"));
    assert.deepEqual(findCanary([written, first.all], CANARY), []);
    const second = await sender.run([...SEAL, "--out", "main.sealed"], { input: FMP_KEY });
    assert.equal(second.code, 2, second.all);
    assert.match(second.stderr, /main\.sealed exists already/);
    assert.deepEqual(readFileSync(join(sender.dir, "main.sealed")), written);
  });
});

import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

const CANARY = "CANARYcanary0123456789abcdefABCD";

describe("sidekey credential", () => {
  test("a key from stdin is stored and is nowhere in the output or the data directory", async (t) => {
    const { run, data } = await initializedPlace(t);
    const added = await run(["credential", "add", "fmp", "--stdin", "--expires", "2099-01-31"], {
      input: `${CANARY}\n`,
    });
    assert.equal(added.code, 0, added.all);
    assert.match(added.stdout, /^stored fmp-main version 1 \(current\), fingerprint [0-9a-f]{12}$/m);
    assert.match(added.stdout, /fmp live, may go to financialmodelingprep\.com/);
    assert.match(added.stdout, /expires 2099-01-31T23:59:59Z/);
    const outputs = [added];
    for (const args of [
      ["credential", "list"],
      ["credential", "list", "--json"],
      ["credential", "show", "fmp-main", "--json"],
      ["audit", "list", "--json"],
    ]) {
      outputs.push(await run(args));
    }
    for (const output of outputs) {
      assert.equal(output.code, 0, output.all);
      assert.ok(!output.all.includes(CANARY));
    }
    for (const name of readdirSync(data)) assert.ok(!readFileSync(join(data, name)).includes(CANARY), name);
  });

  test("several fields come one per line, or from files; too few or too many are refused", async (t) => {
    const { run, dir } = await initializedPlace(t);
    const secret = `SECRET${CANARY}AAAA`;
    const lines = ["credential", "add", "alpaca", "--environment", "paper", "--no-validate"];
    const short = await run([...lines, "--stdin"], { input: "PKAAAAAAAAAAAAAAAAAA\n" });
    assert.equal(short.code, 2, short.all);
    assert.match(short.stderr, /stdin has 1 lines, but 2 fields are needed\n {2}.*key_id, secret_key/);
    const added = await run([...lines, "--stdin"], { input: `PKAAAAAAAAAAAAAAAAAA\r\n${secret}\r\n` });
    assert.equal(added.code, 0, added.all);
    writeFileSync(join(dir, "id"), "PKBBBBBBBBBBBBBBBBBB\n");
    writeFileSync(join(dir, "secret"), secret);
    const oneFile = await run([...lines, "--name", "second", "--file", "key_id=id"]);
    assert.equal(oneFile.code, 2, oneFile.all);
    assert.match(oneFile.stderr, /no --file for secret_key/);
    const files = ["--name", "second", "--file", "key_id=id", "--file", "secret_key=secret"];
    const filed = await run([...lines, ...files]);
    assert.equal(filed.code, 0, filed.all);
    assert.ok(![short, added, oneFile, filed].some((output) => output.all.includes(secret)));
  });

  test("a key on the command line is refused and not repeated", async (t) => {
    const { run } = await initializedPlace(t);
    for (const args of [
      ["credential", "add", "fmp", CANARY],
      ["credential", "add", "fmp", `--key=${CANARY}`],
      ["credential", "add", "fmp", `--${CANARY}`],
      ["credential", "add", "fmp", "--file", CANARY],
      ["credential", "add", "fmp", "--file", `api_key2=${CANARY}`],
      ["credential", CANARY],
      [CANARY],
    ]) {
      const refused = await run(args);
      assert.equal(refused.code, 2, refused.all);
      assert.ok(!refused.all.includes(CANARY), refused.all);
    }
  });

  test("what does not look like a key is refused unless --no-validate; a line break in it always", async (t) => {
    const { run } = await initializedPlace(t);
    const add = ["credential", "add", "anthropic", "--stdin"];
    const unlike = await run(add, { input: "not-a-key" });
    assert.equal(unlike.code, 1, unlike.all);
    assert.match(unlike.stderr, /--no-validate/);
    for (const input of ["sk-ant-\r\nx-evil: 1", "a\0b", "a b", ""]) {
      const refused = await run([...add, "--no-validate"], { input });
      assert.equal(refused.code, 1, JSON.stringify(input) + refused.all);
    }
    const forced = await run([...add, "--no-validate"], { input: "not-a-key" });
    assert.equal(forced.code, 0, forced.all);
    assert.match(forced.stderr, /^warning: .*taken anyway$/m);
  });

  test("a name that is taken needs --replace or --pending, and promote goes forth and back", async (t) => {
    const { run } = await initializedPlace(t);
    const add = ["credential", "add", "fmp", "--stdin"];
    await run(add, { input: CANARY });
    const taken = await run(add, { input: CANARY });
    assert.equal(taken.code, 1);
    assert.match(taken.stderr, /fmp-main exists already\n {2}.*--replace/);
    const rebound = await run([...add, "--replace", "--expires", "9d"], { input: CANARY });
    assert.equal(rebound.code, 2);
    const pending = await run([...add, "--pending"], { input: CANARY.toLowerCase() });
    assert.match(pending.stdout, /version 2 \(pending\)/);
    assert.equal((await run(["credential", "promote", "fmp-main"])).stdout, "fmp-main version 2 is current\n");
    assert.equal((await run(["credential", "promote", "fmp-main", "1"])).stdout, "fmp-main version 1 is current\n");
    assert.equal((await run(["credential", "promote", "fmp-main", "9"])).code, 4);
    assert.match((await run(["credential", "revoke", "fmp-main"])).stdout, /version 1, 2 revoked/);
    assert.equal((await run(["credential", "disable", "fmp-main"])).stdout, "fmp-main is disabled\n");
    assert.equal((await run(["credential", "remove", "fmp-main"])).code, 2);
    assert.equal((await run(["credential", "remove", "fmp-main", "--yes"])).code, 0);
    assert.equal((await run(["credential", "show", "fmp-main"])).code, 4);
  });

  test("a provider with a host of one's own asks for it, and takes no other", async (t) => {
    const { run } = await initializedPlace(t);
    const add = ["credential", "add", "azure-openai", "--stdin", "--no-validate"];
    const input = CANARY;
    assert.match((await run(add, { input })).stderr, /name it: --host/);
    for (const host of ["evil.test", "a.b.openai.azure.com", "openai.azure.com", "x.openai.azure.com.evil.test"]) {
      assert.equal((await run([...add, "--host", host], { input })).code, 2, host);
    }
    const added = await run([...add, "--host", "mine.openai.azure.com"], { input });
    assert.match(added.stdout, /may go to mine\.openai\.azure\.com$/m, added.all);
  });

  test("what is not there is exit 4, and an expiry that makes no sense is exit 2", async (t) => {
    const { run } = await initializedPlace(t);
    assert.equal((await run(["credential", "add", "nobody", "--stdin"], { input: CANARY })).code, 4);
    assert.equal((await run(["credential", "enable", "nobody"])).code, 4);
    for (const expires of ["2001-01-01", "2027-02-30", "soon", "0d"]) {
      const refused = await run(["credential", "add", "fmp", "--stdin", "--expires", expires], { input: CANARY });
      assert.equal(refused.code, 2, expires);
    }
  });
});

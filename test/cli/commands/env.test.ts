import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

describe("sidekey env", () => {
  test("without a token every format leaves a place for it", async (t) => {
    const { run } = await initializedPlace(t);
    const expected = {
      sh: /^export HTTPS_PROXY='http:\/\/app:'"\$SIDEKEY_TOKEN"'@127\.0\.0\.1:8787'$/m,
      dotenv: /^HTTPS_PROXY=http:\/\/app:SIDEKEY_TOKEN@127\.0\.0\.1:8787$/m,
      compose: /^ {2}HTTPS_PROXY: "http:\/\/app:\$\{SIDEKEY_TOKEN\}@127\.0\.0\.1:8787"$/m,
      k8s: /^ {4}value: "http:\/\/app:\$\(SIDEKEY_TOKEN\)@127\.0\.0\.1:8787"$/m,
    };
    for (const [format, pattern] of Object.entries(expected)) {
      const printed = await run(["env", "--format", format]);
      assert.equal(printed.code, 0, printed.all);
      assert.match(printed.stdout, pattern);
      assert.match(printed.stderr, /sidekey client add app/);
    }
    const sh = (await run(["env"])).stdout;
    const shell = spawnSync("sh", ["-c", `SIDEKEY_TOKEN=skc_x; ${sh}\nprintf %s "$HTTPS_PROXY"`], { encoding: "utf8" });
    assert.equal(shell.stdout, "http://app:skc_x@127.0.0.1:8787");
  });

  test("a token is filled in from stdin or made anew; both at once and other formats are refused", async (t) => {
    const { run, token } = await initializedPlace(t);
    const filled = await run(["env", "--token-stdin", "--format", "dotenv"], { input: `${token}\n` });
    assert.ok(filled.stdout.includes(`HTTP_PROXY=http://app:${token}@127.0.0.1:8787\n`), filled.all);
    const made = await run(["env", "--new-token", "--client", "batch", "--address", "sidekey:8787"]);
    assert.match(made.stdout, /^export http_proxy='http:\/\/batch:skc_[a-z2-7]{10}_[A-Za-z0-9_-]{43}@sidekey:8787'$/m);
    assert.equal((await run(["env", "--new-token", "--token-stdin"])).code, 2);
    assert.equal((await run(["env", "--format", "xml"])).code, 2);
    const bad = await run(["env", "--token-stdin"], { input: "CANARY has spaces and is no token" });
    assert.equal(bad.code, 2);
    assert.ok(!bad.all.includes("CANARY"));
  });
});

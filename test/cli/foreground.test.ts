import assert from "node:assert/strict";
import { test } from "node:test";
import { initializedPlace } from "../support/cli-process.ts";

test("the daemon does not start in an environment that would give keys away", async (t) => {
  const place = await initializedPlace(t);
  const environments = {
    SSLKEYLOGFILE: "/tmp/keys",
    NODE_DEBUG: "http",
    NODE_TLS_REJECT_UNAUTHORIZED: "0",
    NODE_OPTIONS: "--inspect-port=0 --require=node:fs",
  };
  for (const [name, value] of Object.entries(environments)) {
    const { code, stderr } = await place.run(["serve"], { env: { [name]: value } });
    assert.equal(code, 1, name);
    assert.match(stderr, new RegExp(name), name);
    assert.doesNotMatch(stderr, /listens/, name);
  }
});

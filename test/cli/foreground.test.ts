import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace } from "../support/cli-process.ts";

test("the daemon does not start in an environment that would give keys away", async (t) => {
  const place = await initializedPlace(t);
  const environments = {
    SSLKEYLOGFILE: "/tmp/keys",
    NODE_DEBUG: "http",
    NODE_TLS_REJECT_UNAUTHORIZED: "0",
    NODE_OPTIONS: "--inspect-port=0 --require=node:fs",
    NODE_V8_COVERAGE: join(place.dir, "coverage"),
    LD_PRELOAD: "/nonexistent/shim.so",
  };
  for (const [name, value] of Object.entries(environments)) {
    const { code, stderr } = await place.run(["serve"], { env: { [name]: value } });
    assert.equal(code, 1, name);
    assert.match(stderr, new RegExp(name), name);
    assert.match(stderr, /--allow-dangerous-environment/, name);
    assert.doesNotMatch(stderr, /listens/, name);
  }
});

test("the daemon does not start with data that others can read or configuration that they can change", async (t) => {
  const place = await initializedPlace(t);
  const cases: [string, number, number, RegExp][] = [
    [join(place.data, "audit.anchor"), 0o644, 0o600, /audit\.anchor: mode 644 .*chmod 600/],
    [join(place.data, "vault.db"), 0o640, 0o600, /vault\.db: mode 640 .*chmod 600/],
    [place.data, 0o755, 0o700, /data: mode 755 .*chmod 700/],
    [join(place.config, "daemon.yaml"), 0o606, 0o600, /daemon\.yaml can be changed by every user/],
    [join(place.config, "providers", "fmp.yaml"), 0o606, 0o600, /fmp\.yaml can be changed by every user/],
  ];
  for (const [path, bad, good, expected] of cases) {
    chmodSync(path, bad);
    const { code, stderr } = await place.run(["serve"]);
    assert.equal(code, 1, path);
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, /listens/);
    chmodSync(path, good);
  }
});

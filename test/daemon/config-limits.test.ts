import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../src/daemon/config.ts";
import { DEFAULT_LIMITS, type LimitsConfig } from "../../src/daemon/config-limits.ts";
import { problemsOf, projectWith } from "../support/daemon-yaml.ts";

test("without a word in daemon.yaml the documented bounds hold", () => {
  assert.deepEqual(DEFAULT_LIMITS, {
    connections: 4096,
    connectionsPerAddress: 1024,
    connectionsPerClient: 256,
    socketsPerPool: 64,
    slowClientMs: 30_000,
  });
});

test("what is not said follows what is: a quarter per address, as many sockets as a client may have requests", (t) => {
  const limits = (text: string): LimitsConfig =>
    loadConfig({ env: {}, cwd: projectWith(t, `version: 1\nlimits: { ${text} }\n`) }).limits;
  assert.equal(limits("connections: 10").connectionsPerAddress, 3);
  assert.equal(limits("connections: 10, connectionsPerAddress: 7").connectionsPerAddress, 7);
  assert.equal(limits("connectionsPerClient: 100").socketsPerPool, 64);
  assert.equal(limits("connectionsPerClient: 11000").socketsPerPool, 11_000);
  assert.equal(limits("connectionsPerClient: 11000, socketsPerPool: 5").socketsPerPool, 5);
  assert.equal(limits("slowClient: 1m").slowClientMs, 60_000);
});

test("what is no bound is refused with its line", (t) => {
  const problems = problemsOf(
    projectWith(t, "version: 1\nlimits:\n  connections: 0\n  socketsPerPool: 1.5\n  slowClient: 30\n  patience: 3\n"),
  );
  assert.match(problems, /^daemon\.yaml:3 limits\.connections: is too small; write 1 or more$/m);
  assert.match(problems, /^daemon\.yaml:4 limits\.socketsPerPool: must be a whole number$/m);
  assert.match(problems, /^daemon\.yaml:5 limits\.slowClient: must be a text value; a number with a unit is text/m);
  assert.match(
    problems,
    /limits\.patience: is not a known key; known here: connections, connectionsPerAddress, connectionsPerClient, socketsPerPool, slowClient$/m,
  );
});

import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Config, loadConfig } from "../../src/daemon/config.ts";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { problemsOf, projectWith } from "../support/daemon-yaml.ts";

function load(root: string): Config {
  return loadConfig({ env: {}, cwd: root });
}

test("keys are checked every six hours unless daemon.yaml says otherwise, or off", (t) => {
  const checkMs = (yaml: string | null) => load(projectWith(t, yaml)).monitor.checkMs;
  assert.equal(checkMs(null), 6 * 3_600_000);
  assert.equal(checkMs("version: 1\nmonitor: { check: 90m }\n"), 90 * 60_000);
  assert.equal(checkMs("version: 1\nmonitor: { check: off }\n"), null);
  for (const wrong of ["10s", "30d", "0", "soon", "true"]) {
    assert.match(problemsOf(projectWith(t, `version: 1\nmonitor: { check: ${wrong} }\n`)), /monitor\.check/, wrong);
  }
});

test("without a file the defaults hold, all of them on loopback", (t) => {
  const root = projectWith(t, null);
  const config = load(root);
  assert.equal(config.file, null);
  assert.equal(config.dataDir, join(root, "data"));
  assert.equal(config.policyFile, join(root, "config", "policy.yaml"));
  assert.equal(config.providersDir, join(root, "config", "providers"));
  assert.equal(config.pricesFile, join(root, "config", "prices.yaml"));
  assert.deepEqual(config.listen, {
    proxy: { host: "127.0.0.1", port: 8787 },
    proxySocket: null,
    admin: null,
    metrics: { host: "127.0.0.1", port: 9477 },
  });
  assert.deepEqual(config.unlock, [{ file: join(root, "data", "root.key") }]);
  assert.deepEqual(config.localNames, ["localhost", "sidekey"]);
  assert.equal(config.secretsIdleMs, 5000);
  assert.deepEqual(config.usage, { flushMs: 1000, keepDays: 90 });
  assert.deepEqual(config.limits, DEFAULT_LIMITS);
  assert.equal(config.drainMs, 10_000);
  assert.equal(config.demo, false);
  assert.deepEqual(config.warnings, []);
  assert.deepEqual(load(projectWith(t, "")).usage, config.usage);
});

test("every key of the file arrives, with absolute paths and plain units", (t) => {
  const root = projectWith(
    t,
    `version: 1
data: ./var
listen: { proxy: "127.0.0.1:9001", proxySocket: ./run/proxy.sock, admin: "[::1]:9002", metrics: null }
localNames: [Gateway]
unlock: [ { file: ./var/root.key }, { passphrase: prompt } ]
policy: ./p.yaml
providers: /etc/sidekey/providers
prices: ./config/my-prices.yaml
upstream:
  hosts:
    API.example.test.: { address: 127.0.0.1:9443, ca: ./ca.pem }
    api.example.test:8443: { address: "[::1]:9444" }
  proxy: http://egress%2Duser@proxy.corp.test:3128
  proxyPasswordFile: ./proxy-password
secrets: { idle: 250ms }
usage: { flush: 500ms, keep: 400d }
log: { level: debug, format: pretty }
demo: true
limits: { connections: 10, connectionsPerClient: 2 }
drain: 3s
`,
  );
  writeFileSync(join(root, "ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  writeFileSync(join(root, "proxy-password"), "hunter2-canary\n");
  const config = load(root);
  assert.equal(config.dataDir, join(root, "var"));
  assert.equal(config.listen.proxySocket, join(root, "run", "proxy.sock"));
  assert.deepEqual(config.listen.admin, { host: "::1", port: 9002 });
  assert.equal(config.listen.metrics, null);
  assert.deepEqual(config.localNames, ["gateway"]);
  assert.deepEqual(config.unlock, [{ file: join(root, "var", "root.key") }, { passphrase: "prompt" }]);
  assert.equal(config.policyFile, join(root, "p.yaml"));
  assert.equal(config.providersDir, "/etc/sidekey/providers");
  assert.equal(config.pricesFile, join(root, "config", "my-prices.yaml"));
  assert.equal(config.upstream.hosts.get("api.example.test")?.port, 9443);
  assert.match(config.upstream.hosts.get("api.example.test")?.ca ?? "", /BEGIN CERTIFICATE/);
  assert.deepEqual(config.upstream.hosts.get("api.example.test:8443"), { address: "::1", port: 9444, ca: null });
  const { password, ...proxy } = config.upstream.proxy ?? assert.fail();
  assert.deepEqual(proxy, { host: "proxy.corp.test", port: 3128, user: "egress-user" });
  assert.ok(password?.use((bytes) => bytes.equals(Buffer.from("hunter2-canary"))));
  assert.ok(!JSON.stringify(config).includes("canary"));
  assert.equal(config.secretsIdleMs, 250);
  assert.deepEqual(config.usage, { flushMs: 500, keepDays: 400 });
  assert.deepEqual(config.log, { level: "debug", format: "pretty" });
  assert.equal(config.demo, true);
  assert.equal(config.drainMs, 3000);
});

test("flags win over the environment, and the environment over the file", (t) => {
  const root = projectWith(t, "version: 1\ndata: ./from-file\n");
  const env = { SIDEKEY_DATA: "from-env", SIDEKEY_CONFIG: "config" };
  assert.equal(loadConfig({ env: {}, cwd: root }).dataDir, join(root, "from-file"));
  assert.equal(loadConfig({ env, cwd: root }).dataDir, join(root, "from-env"));
  assert.equal(loadConfig({ env, cwd: root, argvData: "from-flag" }).dataDir, join(root, "from-flag"));
  assert.deepEqual(loadConfig({ env, cwd: root }).unlock, [{ file: join(root, "from-env", "root.key") }]);
  assert.throws(
    () => loadConfig({ env: {}, cwd: root, argvConfig: "nowhere" }),
    /nowhere does not exist; check --config/,
  );
});

test("problems name the line, the field, what is wrong and what to write, all at once", (t) => {
  const message = problemsOf(
    projectWith(
      t,
      `version: 1
listen:
  proxy: 8787
  admin: example.test:8788
  metric: 127.0.0.1:9477
secrets: { idle: 5 }
usage: { flush: "10", keep: 3 weeks }
log: { level: loud }
limits: { connections: 0 }
demo: "yes"
unlock: [ { file: a, passphrase: prompt } ]
colour: red
`,
    ),
  );
  const expected = [
    /^daemon\.yaml:3 listen\.proxy: must be a text value/m,
    /^daemon\.yaml:4 listen\.admin: "example\.test:8788" is a name; write an IP address and port/m,
    /^daemon\.yaml:5 listen\.metric: is not a known key; known here: proxy, proxySocket, admin, metrics$/m,
    /^daemon\.yaml:6 secrets\.idle: must be a text value; a number with a unit is text, such as 5s$/m,
    /^daemon\.yaml:7 usage\.flush: 10 has no unit; write 10s or 10ms$/m,
    /^daemon\.yaml:7 usage\.keep: "3 weeks" is not 1d to 3650d; write whole days, such as 90d$/m,
    /^daemon\.yaml:8 log\.level: must be debug or info or warn or error$/m,
    /^daemon\.yaml:9 limits\.connections: is too small; write 1 or more$/m,
    /^daemon\.yaml:10 demo: must be a yes-or-no value: true or false$/m,
    /^daemon\.yaml:11 unlock\[0\]: write exactly one of/m,
    /^daemon\.yaml:12 colour: is not a known key; known here: version, data, listen/m,
  ];
  for (const pattern of expected) assert.match(message, pattern);
});

test("a file that is not plain YAML, or of another version, is refused with its line", (t) => {
  assert.match(
    problemsOf(projectWith(t, "version: 1\ndata: &x ./data\n")),
    /^daemon\.yaml:2: anchor &x is not accepted/,
  );
  assert.match(problemsOf(projectWith(t, "version: 1\nversion: 1\n")), /^daemon\.yaml:2: duplicate key "version"/);
  assert.match(problemsOf(projectWith(t, "version: 2\n")), /^daemon\.yaml:1 version: must be 1$/);
  assert.match(problemsOf(projectWith(t, "data: ./data\n")), /version: must be 1$/);
});

test("a password in the proxy URL is refused without being repeated", (t) => {
  const message = problemsOf(projectWith(t, "version: 1\nupstream: { proxy: 'http://user:canary-9f2b@proxy:3128' }\n"));
  assert.match(message, /upstream\.proxy: has a password in the URL; remove it and name a file/);
  assert.ok(!message.includes("canary"));
  assert.match(
    problemsOf(projectWith(t, "version: 1\nupstream: { proxy: 'https://proxy:3128' }\n")),
    /is not http:\/\//,
  );
  assert.match(
    problemsOf(projectWith(t, "version: 1\nupstream: { proxy: 'http://proxy:3128', proxyPasswordFile: x }\n")),
    /upstream\.proxyPasswordFile: is set but upstream\.proxy names no user/,
  );
});

test("files that the configuration names must be readable and what they should be", (t) => {
  const root = projectWith(
    t,
    `version: 1
upstream:
  hosts:
    a.example.test: { address: 127.0.0.1:9443, ca: ./missing.pem }
    b.example.test: { address: 127.0.0.1:9443, ca: ./text.pem }
    "b_b.example.test": { address: 127.0.0.1:9443 }
    c.example.test: { address: "c.internal.test:9443" }
`,
  );
  writeFileSync(join(root, "text.pem"), "hello");
  assert.match(problemsOf(root), /upstream\.hosts\.c\.example\.test\.address: "c\.internal\.test:9443" is a name/);
  writeFileSync(
    join(root, "config", "daemon.yaml"),
    `version: 1
upstream:
  hosts:
    a.example.test: { address: 127.0.0.1:9443, ca: ./missing.pem }
    b.example.test: { address: 127.0.0.1:9443, ca: ./text.pem }
    "b_b.example.test": { address: 127.0.0.1:9443 }
`,
  );
  const message = problemsOf(root);
  assert.match(message, /^daemon\.yaml:4 .*a\.example\.test\.ca: .*missing\.pem cannot be read \(ENOENT\)/m);
  assert.match(message, /^daemon\.yaml:5 .*text\.pem holds no certificate/m);
  assert.match(message, /^daemon\.yaml:6 .*underscore/m);
});

test("listeners on other addresses are allowed with a warning; two on one port are not", (t) => {
  const config = load(projectWith(t, 'version: 1\nlisten:\n  proxy: 0.0.0.0:8787\n  metrics: "[::]:9477"\n'));
  assert.equal(config.warnings.length, 2);
  assert.match(config.warnings[0] ?? "", /^daemon\.yaml:3 listen\.proxy: other machines can reach the proxy/);
  assert.match(
    problemsOf(projectWith(t, "version: 1\nlisten: { admin: 127.0.0.1:8787 }\n")),
    /listen\.admin: port 8787 is taken by listen\.proxy/,
  );
});

test("an unreadable daemon.yaml is a problem with a next step, not a stack trace", {
  skip: process.getuid?.() === 0,
}, (t) => {
  const root = projectWith(t, "version: 1\n");
  chmodSync(join(root, "config", "daemon.yaml"), 0);
  assert.match(problemsOf(root), /cannot be read \(EACCES\); check its permissions/);
});

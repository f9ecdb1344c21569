import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ConfigError, loadConfig } from "../../src/daemon/config.ts";
import type { AnchorConfig } from "../../src/daemon/config-anchor.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeAuthority } from "../support/test-authority.ts";

function load(t: TestContext, anchor: string, files: Record<string, string> = {}): AnchorConfig | undefined {
  const root = tempDir(t);
  mkdirSync(join(root, "config"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  writeFileSync(join(root, "config", "daemon.yaml"), `version: 1\n${anchor}\n`);
  return loadConfig({ env: {}, cwd: root }).anchor;
}

test("the anchor goes nowhere unless daemon.yaml says so, and every minute unless it says otherwise", (t) => {
  assert.equal(load(t, "drain: 1s"), undefined);
  const syslog = load(t, "anchor: { syslog: { address: udp://log.internal:514 } }");
  assert.deepEqual(syslog, {
    everyMs: 60_000,
    syslog: { kind: "udp", host: "log.internal", port: 514 },
    webhook: null,
  });
  const tcp = load(t, 'anchor: { every: 5s, syslog: { address: "tcp://[::1]:601" } }');
  assert.deepEqual([tcp?.everyMs, tcp?.syslog], [5_000, { kind: "tcp", host: "::1", port: 601 }]);
  const unix = load(t, "anchor: { syslog: { address: unix:///run/log.sock } }");
  assert.deepEqual(unix?.syslog, { kind: "unix", path: "/run/log.sock" });
  const { caPem } = makeAuthority();
  const webhook = "anchor: { webhook: { url: https://keep.example/anchors, ca: ca.pem, secretFile: hook.key } }";
  const found = load(t, webhook, { "ca.pem": caPem, "hook.key": "s3cret\n" })?.webhook;
  assert.deepEqual([found?.url, found?.ca], ["https://keep.example/anchors", caPem]);
  assert.equal(
    found?.secret?.use((bytes) => bytes.toString()),
    "s3cret",
  );
});

test("an anchor section that would send it nowhere, in the clear or unsigned by mistake is refused with its line", (t) => {
  const cases: Record<string, RegExp> = {
    "anchor: {}": /daemon\.yaml:2 anchor: names neither syslog nor webhook/,
    "anchor: { syslog: { address: log.internal } }": /anchor\.syslog\.address: is no address; write udp:/,
    "anchor: { syslog: { address: udp://log:70000 } }": /is no address/,
    "anchor: { syslog: { address: tcp://log:0 } }": /is no address/,
    "anchor: { syslog: { address: unix://relative } }": /is no address/,
    "anchor: { webhook: { url: http://keep.example } }": /is no https:\/\/ URL/,
    "anchor: { webhook: { url: https://u:p@keep.example } }": /holds a password/,
    "anchor: { webhook: { url: https://keep.example, secretFile: nothing.key } }": /secretFile: .* cannot be read/,
    "anchor: { webhook: { url: https://keep.example, secretFile: empty.key } }": /secretFile: is empty/,
    "anchor: { webhook: { url: https://keep.example, ca: empty.key } }": /holds no certificate/,
    "anchor: { every: 1ms, syslog: { address: udp://log:514 } }": /out of range/,
    "anchor: { mail: me }": /is not a known key/,
  };
  for (const [yaml, expected] of Object.entries(cases)) {
    assert.throws(
      () => load(t, yaml, { "empty.key": "\n" }),
      (error) => error instanceof ConfigError && expected.test(error.message),
      yaml,
    );
  }
});

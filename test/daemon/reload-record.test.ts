import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReloadResult } from "../../src/daemon/policy-source.ts";
import { recordReload } from "../../src/daemon/reload-record.ts";
import { newVault } from "../support/vault-fixture.ts";

function sinks(vault: Parameters<typeof recordReload>[1]["vault"]) {
  const lines: string[] = [];
  const counted: [boolean, string][] = [];
  return {
    lines,
    counted,
    vault,
    log: { info: (msg: string) => lines.push(`info ${msg}`), error: (msg: string) => lines.push(`error ${msg}`) },
    metrics: { policyReloaded: (ok: boolean, revision: string) => counted.push([ok, revision]) },
  };
}

const NEW: ReloadResult = { ok: true, reason: "file", revision: "abc", changed: true, problems: [], warnings: [] };
const SAME: ReloadResult = { ...NEW, changed: false };
const BAD: ReloadResult = { ...SAME, ok: false, problems: ["policy.yaml:3 routes: is not a map; write route ids"] };

test("a new policy and a refused one each leave a metric, a log line and an audit entry; an unchanged one no entry", async (t) => {
  const { vault } = await newVault(t);
  const before = vault.listAudit().length;
  const to = sinks(vault);
  for (const result of [NEW, SAME, BAD]) recordReload(result, to);
  assert.deepEqual(to.lines, ["info policy_reload", "info policy_reload", "error policy_reload"]);
  assert.deepEqual(to.counted, [
    [true, "abc"],
    [true, "abc"],
    [false, "abc"],
  ]);
  const entries = vault.listAudit().slice(before);
  assert.deepEqual(
    entries.map(({ action, detail }) => [action, detail.problems]),
    [
      ["policy.reload", 0],
      ["policy.refuse", 1],
    ],
  );
  assert.equal(vault.verifyAudit().ok, true);
});

test("an audit that cannot be written does not undo a reload", () => {
  const to = sinks({
    sealed: false,
    audit: () => {
      throw new Error("disk full");
    },
  });
  recordReload(NEW, to);
  assert.deepEqual(to.lines, ["info policy_reload", "error audit"]);
});

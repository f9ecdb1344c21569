import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { afterCheck, expiryOf, HealthTable, shownState, unknownHealth } from "../../../src/daemon/monitor/health.ts";
import type { ProbeResult } from "../../../src/daemon/monitor/probe.ts";
import { type HealthState, openMonitorStore } from "../../../src/store/monitor.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { storedCredential } from "./stored-credential.ts";

const DAY = 86_400_000;
const NOW = 1_700_000_000_000;
const MAIN = storedCredential();

const result = (meaning: ProbeResult["meaning"], expiresAt: number | null = null): ProbeResult => ({
  meaning,
  status: 200,
  detail: meaning,
  expiresAt,
});

function scene(t: TestContext) {
  const dir = tempDir(t);
  const failures: unknown[] = [];
  const open = () => {
    const store = openMonitorStore(dir);
    t.after(() => store.close());
    return { store, table: new HealthTable(store, (error) => failures.push(error)) };
  };
  return { open, failures, ...open() };
}

const check = { reason: "schedule", started: NOW, nextAt: NOW + DAY } as const;

test("only a clear answer changes what is known; nothing but a good one brings a refused key back", () => {
  const was = (state: HealthState) => ({ ...unknownHealth("c", 1), state, suspectSince: 5 });
  const table: readonly (readonly [from: HealthState, meaning: ProbeResult["meaning"], to: HealthState])[] = [
    ["unknown", "valid", "valid"],
    ["valid", "invalid", "invalid"],
    ["valid", "unknown", "valid"],
    ["valid", "limited", "limited"],
    ["valid", "plan", "limited"],
    ["valid", "forbidden", "forbidden"],
    ["invalid", "unknown", "invalid"],
    ["invalid", "limited", "invalid"],
    ["invalid", "forbidden", "invalid"],
    ["invalid", "plan", "limited"],
    ["invalid", "valid", "valid"],
    ["forbidden", "unknown", "forbidden"],
  ];
  for (const [from, meaning, to] of table) {
    const after = afterCheck(was(from), result(meaning), NOW);
    assert.equal(after.state, to, `${from} and then ${meaning}`);
    assert.equal(after.suspectSince, meaning === "unknown" || meaning === "limited" ? 5 : null, meaning);
  }
});

test("an expiry that was learned stays when a later answer does not repeat it", () => {
  const learned = afterCheck(unknownHealth("c", 1), result("valid", 77), NOW);
  assert.equal(afterCheck(learned, result("valid"), NOW).expiresAt, 77);
  assert.equal(afterCheck(learned, result("valid", 88), NOW).expiresAt, 88);
});

test("the earlier expiry counts, and the state that is shown follows it", () => {
  const health = (state: HealthState, expiresAt: number | null) => ({ ...unknownHealth("c", 1), state, expiresAt });
  assert.equal(expiryOf({ expiresAt: 5 }, health("valid", 3)), 3);
  assert.equal(expiryOf({ expiresAt: 5 }, health("valid", 9)), 5);
  assert.equal(expiryOf({ expiresAt: null }, undefined), null);
  const shown = (state: HealthState, days: number | null) =>
    shownState({ expiresAt: days === null ? null : NOW + days * DAY }, health(state, null), NOW);
  assert.equal(shown("valid", null), "valid");
  assert.equal(shown("valid", 31), "valid");
  assert.equal(shown("valid", 30), "expiring");
  assert.equal(shown("limited", 3), "expiring");
  assert.equal(shown("invalid", 3), "invalid");
  assert.equal(shown("forbidden", 3), "forbidden");
  assert.equal(shown("invalid", 0), "expired");
  assert.equal(shownState({ expiresAt: null }, undefined, NOW), "unknown");
});

test("a version that is invalid is not usable, its neighbour is, and a restart knows it still", (t) => {
  const { table, open } = scene(t);
  assert.equal(table.usable(MAIN.id, 1), true);
  table.settle(MAIN, 1, result("invalid"), check);
  assert.deepEqual([table.usable(MAIN.id, 1), table.usable(MAIN.id, 2)], [false, true]);
  const { table: restarted, store } = open();
  assert.equal(restarted.usable(MAIN.id, 1), false);
  assert.equal(store.checks(MAIN.id)[0]?.meaning, "invalid");
  restarted.settle(MAIN, 1, result("valid"), check);
  assert.equal(restarted.usable(MAIN.id, 1), true);
  table.refresh();
  assert.equal(table.usable(MAIN.id, 1), true, "what another process has learnt is taken over");
});

test("a check that says invalid is not believed against traffic that succeeds", (t) => {
  const { table } = scene(t);
  table.answered(MAIN.name, 1, NOW - 1_000);
  const kept = table.settle(MAIN, 1, result("invalid"), check);
  assert.equal(table.usable(MAIN.id, 1), true);
  assert.match(kept.detail, /kept in use/);
  table.answered(MAIN.name, 2, NOW);
  table.settle(MAIN, 1, result("invalid"), check);
  assert.equal(table.usable(MAIN.id, 1), false, "another version's success is no evidence");
});

test("success before the suspicion is no evidence, success after it is", (t) => {
  const { table } = scene(t);
  table.answered(MAIN.name, 1, NOW - 2_000);
  assert.equal(table.suspect(MAIN.id, 1, NOW - 1_000), true);
  assert.equal(table.suspect(MAIN.id, 1, NOW - 500), false);
  table.settle(MAIN, 1, result("invalid"), check);
  assert.equal(table.usable(MAIN.id, 1), false);
  assert.equal(table.suspect(MAIN.id, 1, NOW), false, "what is out of use cannot become suspect");
  const other = storedCredential({ name: "other" });
  table.suspect(other.id, 1, NOW - 1_000);
  table.answered("other", 1, NOW - 500);
  const kept = table.settle(other, 1, result("invalid"), check);
  assert.equal(table.usable(other.id, 1), true);
  assert.equal(kept.suspectSince, null);
});

test("a version is verified by a check that found it accepted, until the next suspicion", (t) => {
  const { table } = scene(t);
  assert.equal(table.verifiedAt(MAIN.id, 1), null);
  for (const meaning of ["unknown", "limited", "invalid"] as const) {
    table.settle(MAIN, 1, result(meaning), check);
    assert.equal(table.verifiedAt(MAIN.id, 1), null, meaning);
  }
  for (const meaning of ["valid", "plan", "forbidden"] as const) {
    table.settle(MAIN, 2, result(meaning), check);
    assert.equal(table.verifiedAt(MAIN.id, 2), check.started, meaning);
    assert.equal(table.suspect(MAIN.id, 2, NOW), true);
    assert.equal(table.verifiedAt(MAIN.id, 2), null);
  }
  table.answered(MAIN.name, 3, NOW);
  table.settle(MAIN, 3, result("invalid"), check);
  assert.equal(table.verifiedAt(MAIN.id, 3), check.started, "traffic says that it is accepted");
});

test("without a writable disk health goes on in memory, and the failure is told", (t) => {
  const { table, store, failures } = scene(t);
  store.close();
  table.settle(MAIN, 1, result("invalid"), check);
  assert.equal(table.usable(MAIN.id, 1), false);
  assert.ok(failures.length > 0);
});

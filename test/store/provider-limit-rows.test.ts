import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { openMonitorDatabase } from "../../src/store/database.ts";
import { MONITOR_FILE, openMonitorStore } from "../../src/store/monitor.ts";
import { MONITOR_MIGRATIONS } from "../../src/store/monitor-schema.ts";
import type { StoredLimits } from "../../src/store/provider-limit-rows.ts";
import { tempDir } from "../support/temp-dir.ts";

const LIMITS: StoredLimits = {
  credential: "c1",
  version: 2,
  held: { status: 429, untilMs: 9_000, capped: true },
  windows: [
    { scope: null, kind: "requests", limit: 500, remaining: 0, resetAtMs: 8_000, seenAtMs: 1_000 },
    { scope: "gpt-4o", kind: "tokens", limit: null, remaining: 2e15, resetAtMs: null, seenAtMs: 2_000 },
  ],
};

test("what was told last of each version is kept over a restart, and replaces what was known before", (t) => {
  const dir = tempDir(t);
  const first = openMonitorStore(dir);
  const other = { ...LIMITS, version: 3, held: null };
  first.putProviderLimits([LIMITS, other]);
  const windows = LIMITS.windows.slice(0, 1);
  first.putProviderLimits([{ ...LIMITS, windows, held: null }]);
  first.close();
  const again = openMonitorStore(dir);
  t.after(() => again.close());
  assert.deepEqual(again.providerLimits(), [{ ...LIMITS, windows, held: null }, other]);
  assert.deepEqual(again.providerLimits("c1").length, 2);
  assert.deepEqual(again.providerLimits("c2"), []);
});

test("a hold without a window is kept as well", (t) => {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  const held = { ...LIMITS, windows: [] };
  store.putProviderLimits([held]);
  assert.deepEqual(store.providerLimits(), [held]);
  store.putProviderLimits([{ ...held, held: null }]);
  assert.deepEqual(store.providerLimits(), []);
});

test("all are written or none", (t) => {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  store.putProviderLimits([LIMITS]);
  const broken = { ...LIMITS, credential: "c2", windows: [{ ...LIMITS.windows[0], seenAtMs: 1.5 } as never] };
  assert.throws(() => store.putProviderLimits([{ ...LIMITS, windows: [] }, broken]));
  assert.deepEqual(store.providerLimits(), [LIMITS]);
});

test("limits of removed credentials are forgotten, those that a provider's keys share are not", (t) => {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  const shared = { ...LIMITS, credential: "provider:binance", version: 0 };
  store.putProviderLimits([LIMITS, { ...LIMITS, credential: "gone" }, shared]);
  store.keepOnly(new Set(["c1"]));
  assert.deepEqual(store.providerLimits(), [LIMITS, shared]);
});

test("a monitor.db from before there were limits in it keeps what it has", (t) => {
  const dir = tempDir(t);
  const old = openMonitorDatabase(join(dir, MONITOR_FILE), MONITOR_MIGRATIONS.slice(0, 1));
  old.exec("INSERT INTO alerts VALUES ('backup_failed', 'backups', 'warning', 'disk full', 1, 5, 5)");
  old.close();
  const store = openMonitorStore(dir);
  t.after(() => store.close());
  assert.equal(store.alerts.open().length, 1);
  store.putProviderLimits([LIMITS]);
  assert.deepEqual(store.providerLimits(), [LIMITS]);
});

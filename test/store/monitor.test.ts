import assert from "node:assert/strict";
import { chmodSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DatabaseError } from "../../src/store/database.ts";
import { type Health, openMonitorStore, readMonitor } from "../../src/store/monitor.ts";
import { tempDir } from "../support/temp-dir.ts";

const HEALTH: Health = {
  credential: "c1",
  version: 2,
  state: "valid",
  checkedAt: 1_000,
  nextAt: 2_000,
  expiresAt: null,
  suspectSince: null,
  detail: "GET /v1/models answered 200",
};

test("health of each version is kept over a restart and replaced by a newer one", (t) => {
  const dir = tempDir(t);
  const first = openMonitorStore(dir);
  first.putHealth(HEALTH);
  first.putHealth({ ...HEALTH, version: 1, state: "invalid" });
  first.putHealth({ ...HEALTH, state: "expiring", expiresAt: 9_000, suspectSince: 1_500 });
  first.putHealth({ ...HEALTH, credential: "c2" });
  first.close();
  const again = openMonitorStore(dir);
  t.after(() => again.close());
  assert.deepEqual(again.health("c1"), [
    { ...HEALTH, version: 1, state: "invalid" },
    { ...HEALTH, state: "expiring", expiresAt: 9_000, suspectSince: 1_500 },
  ]);
  assert.equal(again.health().length, 3);
});

test("monitor.db is private to its owner", (t) => {
  const dir = tempDir(t);
  openMonitorStore(dir).close();
  assert.equal(statSync(join(dir, "monitor.db")).mode & 0o777, 0o600);
  chmodSync(join(dir, "monitor.db"), 0o644);
  assert.throws(() => openMonitorStore(dir), /chmod 600/);
});

test("a file that is no monitor database is refused, with what to do", (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, "monitor.db"), "not a database, but long enough to be taken for one".repeat(20), {
    mode: 0o600,
  });
  assert.throws(
    () => openMonitorStore(dir),
    (error) => error instanceof DatabaseError && error.code === "corrupt" && /begin an empty one/.test(error.message),
  );
});

test("the history of one credential is bounded and does not push out another's", (t) => {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  const check = { credential: "c1", version: 1, reason: "schedule", meaning: "valid", status: 200, detail: "" };
  store.addCheck({ ...check, credential: "quiet", at: 1 });
  for (let at = 1; at <= 130; at++) store.addCheck({ ...check, at, detail: "x".repeat(2_000) });
  const kept = store.checks("c1");
  assert.equal(kept.length, 100);
  assert.equal(kept[0]?.at, 130);
  assert.equal(kept.at(-1)?.at, 31);
  assert.equal(kept[0]?.detail.length, 500);
  assert.equal(store.checks("quiet").length, 1);
  assert.equal(store.checks("c1", 3).length, 3);
});

test("a notice is given once for each day count and expiry", (t) => {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  assert.equal(store.noticeOnce("c1", 5_000, 30, 1), true);
  assert.equal(store.noticeOnce("c1", 5_000, 30, 2), false);
  assert.equal(store.noticeOnce("c1", 5_000, 14, 2), true);
  assert.equal(store.noticeOnce("c1", 6_000, 30, 2), true);
});

test("what belongs to removed credentials is forgotten", (t) => {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  store.putHealth(HEALTH);
  store.putHealth({ ...HEALTH, credential: "gone" });
  store.addCheck({
    credential: "gone",
    version: 1,
    at: 1,
    reason: "schedule",
    meaning: "valid",
    status: 200,
    detail: "",
  });
  store.noticeOnce("gone", 5_000, 30, 1);
  store.keepOnly(new Set(["c1"]));
  assert.deepEqual(store.health(), [HEALTH]);
  assert.deepEqual(store.checks("gone"), []);
  assert.equal(store.noticeOnce("gone", 5_000, 30, 1), true);
});

test("reading where there is no monitor.db gives the default and makes no file", (t) => {
  const dir = tempDir(t);
  assert.equal(
    readMonitor(dir, () => "read", "missing"),
    "missing",
  );
  openMonitorStore(dir).close();
  assert.equal(
    readMonitor(dir, () => "read", "missing"),
    "read",
  );
});

test("another process's change is seen in the data version", (t) => {
  const dir = tempDir(t);
  const one = openMonitorStore(dir);
  const two = openMonitorStore(dir);
  t.after(() => one.close());
  t.after(() => two.close());
  const before = one.dataVersion();
  two.putHealth(HEALTH);
  assert.notEqual(one.dataVersion(), before);
});

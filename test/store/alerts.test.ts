import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Alert, KEPT_CLOSED } from "../../src/store/alerts.ts";
import { openMonitorDatabase } from "../../src/store/database.ts";
import { MONITOR_FILE, type MonitorStore, openMonitorStore } from "../../src/store/monitor.ts";
import { MONITOR_MIGRATIONS } from "../../src/store/monitor-schema.ts";
import { tempDir } from "../support/temp-dir.ts";

const ALERT: Alert = {
  id: 0,
  kind: "credential_invalid",
  object: "credential:a",
  severity: "critical",
  message: "replace it",
  state: "open",
  count: 1,
  firstAt: 10,
  lastAt: 10,
  lapsesAt: null,
  closedAt: null,
  acknowledgedAt: null,
  acknowledgedBy: null,
};

function opened(t: TestContext, dir = tempDir(t)): MonitorStore {
  const store = openMonitorStore(dir);
  t.after(() => store.close());
  return store;
}

test("an alert is kept as it is, over a restart", (t) => {
  const dir = tempDir(t);
  const first = openMonitorStore(dir);
  const id = first.alerts.put({ ...ALERT, lapsesAt: 99 });
  first.alerts.put({ ...ALERT, object: "credential:b", severity: "info", firstAt: 5 });
  first.close();
  const { alerts } = opened(t, dir);
  assert.deepEqual(alerts.open()[0], { ...ALERT, id, lapsesAt: 99 });
  assert.deepEqual(
    alerts.open().map(({ object }) => object),
    ["credential:a", "credential:b"],
  );
  assert.deepEqual(alerts.closed(), []);
});

test("the worst comes first, then the oldest", (t) => {
  const { alerts } = opened(t);
  for (const [object, severity, firstAt] of [
    ["a", "info", 1],
    ["b", "warning", 3],
    ["c", "critical", 9],
    ["d", "warning", 2],
  ] as const) {
    alerts.put({ ...ALERT, object, severity, firstAt });
  }
  assert.equal(
    alerts
      .open()
      .map(({ object }) => object)
      .join(""),
    "cdba",
  );
});

test("there is never a second open one of the same: what was not known of is taken over", (t) => {
  const { alerts } = opened(t);
  const id = alerts.put(ALERT);
  assert.equal(alerts.put({ ...ALERT, severity: "info", count: 2, lastAt: 20 }), id);
  const [alert, ...others] = alerts.open();
  assert.deepEqual(others, []);
  assert.deepEqual([alert?.count, alert?.firstAt, alert?.lastAt, alert?.severity], [3, 10, 20, "info"]);
});

test("a closed one leaves room for another of the same, and its number is never used again", (t) => {
  const { alerts } = opened(t);
  const first = alerts.put(ALERT);
  alerts.put({ ...ALERT, id: first, state: "closed", closedAt: 30 });
  assert.deepEqual(alerts.open(), []);
  const second = alerts.put(ALERT);
  assert.ok(second > first);
  assert.deepEqual(
    alerts.closed().map(({ id, state, closedAt }) => [id, state, closedAt]),
    [[first, "closed", 30]],
  );
});

test("so many closed ones are kept, the newest, and open ones are never dropped", (t) => {
  const { alerts } = opened(t);
  const open = alerts.put({ ...ALERT, object: "open" });
  for (let n = 1; n <= KEPT_CLOSED + 20; n++) {
    alerts.put({ ...ALERT, object: `credential:${n}`, state: "closed", closedAt: n });
  }
  const kept = alerts.closed();
  assert.equal(kept.length, KEPT_CLOSED);
  assert.deepEqual([kept[0]?.closedAt, kept.at(-1)?.closedAt], [KEPT_CLOSED + 20, 21]);
  assert.equal(alerts.open()[0]?.id, open);
  // One that was dropped meanwhile is stored again rather than lost.
  const gone = open + 1;
  const again = alerts.put({ ...ALERT, id: gone, state: "closed", closedAt: 10_000 });
  assert.notEqual(again, gone);
  assert.equal(alerts.closed()[0]?.id, again);
});

test("an end is told once, also when the alert opens and closes again", (t) => {
  const { alerts } = opened(t);
  const id = alerts.put(ALERT);
  alerts.put({ ...ALERT, id, state: "closed", closedAt: 30 });
  assert.equal(alerts.untold().length, 1);
  alerts.markTold(id);
  assert.deepEqual(alerts.untold(), []);
  alerts.put({ ...ALERT, id, count: 2 });
  alerts.put({ ...ALERT, id, count: 2, state: "closed", closedAt: 60 });
  assert.equal(alerts.untold().length, 1);
});

test("an acknowledgement stays until it is to be forgotten; only an open alert can have one", (t) => {
  const { alerts } = opened(t);
  const id = alerts.put(ALERT);
  assert.equal(alerts.acknowledge(id, "cli:ana", 50), "done");
  alerts.put({ ...ALERT, id, count: 7 });
  assert.deepEqual([alerts.open()[0]?.acknowledgedBy, alerts.open()[0]?.acknowledgedAt], ["cli:ana", 50]);
  alerts.put({ ...ALERT, id, count: 8 }, { forgetAcknowledged: true });
  assert.deepEqual([alerts.open()[0]?.acknowledgedBy, alerts.open()[0]?.acknowledgedAt], [null, null]);
  alerts.put({ ...ALERT, id, state: "closed", closedAt: 60 });
  assert.equal(alerts.acknowledge(id, "cli:ana", 70), "closed");
  assert.equal(alerts.acknowledge(id + 1, "cli:ana", 70), "missing");
});

test("a message is bounded", (t) => {
  const { alerts } = opened(t);
  alerts.put({ ...ALERT, message: "x".repeat(5_000) });
  assert.equal(alerts.open()[0]?.message.length, 1_000);
});

test("alerts of a monitor.db that was made before alerts had numbers are still open", (t) => {
  const dir = tempDir(t);
  const db = openMonitorDatabase(join(dir, MONITOR_FILE), MONITOR_MIGRATIONS.slice(0, 1));
  db.exec("INSERT INTO alerts VALUES ('backup_failed', 'backup', 'critical', 'the disk is full', 4, 10, 20)");
  db.close();
  const [alert] = opened(t, dir).alerts.open();
  assert.deepEqual(alert, {
    ...ALERT,
    id: 1,
    kind: "backup_failed",
    object: "backup",
    message: "the disk is full",
    count: 4,
    lastAt: 20,
  });
});

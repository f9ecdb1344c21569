import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { createAlerts } from "../../../src/daemon/monitor/alerts.ts";
import { openMonitorStore } from "../../../src/store/monitor.ts";
import { tempDir } from "../../support/temp-dir.ts";

function scene(t: TestContext) {
  const store = openMonitorStore(tempDir(t));
  const lines: string[] = [];
  const line =
    (level: string) =>
    (msg: string, fields: object = {}): void => {
      lines.push(`${level} ${msg} ${JSON.stringify(fields)}`);
    };
  const log = { info: line("info"), warn: line("warn"), error: line("error") };
  return { store, lines, alerts: createAlerts(store, log, () => 7) };
}

test("an alert is logged when it opens and when it closes, and not in between", (t) => {
  const { store, lines, alerts } = scene(t);
  t.after(() => store.close());
  for (let n = 0; n < 3; n++) alerts.raise("backup_failed", "backup:daily", "critical", "the disk is full");
  alerts.clear("backup_failed", "backup:daily");
  alerts.clear("backup_failed", "backup:daily");
  assert.deepEqual(lines, [
    'error alert_opened {"kind":"backup_failed","object":"backup:daily","severity":"critical","message":"the disk is full"}',
    'info alert_closed {"kind":"backup_failed","object":"backup:daily"}',
  ]);
});

test("each severity has its log level", (t) => {
  const { store, lines, alerts } = scene(t);
  t.after(() => store.close());
  alerts.raise("a", "x", "info", "m");
  alerts.raise("b", "x", "warning", "m");
  alerts.raise("c", "x", "critical", "m");
  assert.deepEqual(
    lines.map((line) => line.split(" ")[0]),
    ["info", "warn", "error"],
  );
  assert.deepEqual(
    alerts.open().map((alert) => alert.severity),
    ["critical", "warning", "info"],
  );
});

test("an alert is still logged when it cannot be stored, and its caller goes on", (t) => {
  const { store, lines, alerts } = scene(t);
  store.close();
  alerts.raise("a", "x", "critical", "it burns");
  assert.ok(lines.some((line) => line.startsWith("error alert_opened") && line.includes("it burns")));
  lines.length = 0;
  alerts.clear("a", "x");
  assert.ok(!lines.some((line) => line.includes("alert_closed")));
  assert.deepEqual(alerts.open(), []);
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Alert } from "../../../src/store/alerts.ts";
import { openMonitorStore } from "../../../src/store/monitor.ts";
import { initializedPlace } from "../../support/cli-process.ts";

const ALERT: Alert = {
  id: 0,
  kind: "pool_empty",
  object: "route:fmp",
  severity: "critical",
  message: "route fmp has no usable credential \u001b[2J left",
  state: "open",
  count: 3,
  firstAt: 1_700_000_000_000,
  lastAt: 1_700_000_060_000,
  lapsesAt: null,
  closedAt: null,
  acknowledgedAt: null,
  acknowledgedBy: null,
};

describe("sidekey alerts", () => {
  test("lists open alerts, with --all closed ones, and marks one as seen", async (t) => {
    const { run, data } = await initializedPlace(t);
    const none = await run(["alerts"]);
    assert.deepEqual([none.code, none.stdout], [0, ""], none.all);
    assert.match(none.stderr, /no open alerts/);
    const store = openMonitorStore(data);
    const id = store.alerts.put(ALERT);
    const old = store.alerts.put({ ...ALERT, object: "route:old", state: "closed", closedAt: 1_700_000_100_000 });
    store.close();
    const listed = await run(["alerts"]);
    assert.equal(listed.code, 0, listed.all);
    assert.match(
      listed.stdout,
      /^ID +SEVERITY +KIND +ABOUT +STATE +SINCE +LAST +TIMES +MESSAGE\n1 +critical +pool_empty +route:fmp +open +2023-11-14T22:13:20Z +2023-11-14T22:14:20Z +3 +route fmp has no usable credential \\x1b\[2J left$/m,
    );
    assert.ok(!listed.stdout.includes("route:old"));
    const all = JSON.parse((await run(["alerts", "--all", "--json"])).stdout) as Alert[];
    assert.deepEqual(
      all.map(({ id, state }) => [id, state]),
      [
        [id, "open"],
        [old, "closed"],
      ],
    );
    const seen = await run(["alerts", "acknowledge", String(id)]);
    assert.equal(seen.code, 0, seen.all);
    assert.match(seen.stdout, /alert 1 is marked as seen/);
    assert.match((await run(["alerts"])).stdout, / open, seen by cli:\S+ /);
    assert.equal((JSON.parse((await run(["alerts", "--json"])).stdout) as Alert[]).length, 1);
  });

  test("what cannot be marked is said: no such alert, closed already, no number", async (t) => {
    const { run, data } = await initializedPlace(t);
    assert.equal((await run(["alerts", "acknowledge", "1"])).code, 4);
    const store = openMonitorStore(data);
    const id = store.alerts.put({ ...ALERT, state: "closed", closedAt: 1_700_000_100_000 });
    store.close();
    const closed = await run(["alerts", "acknowledge", String(id)]);
    assert.deepEqual([closed.code, /closed already/.test(closed.stderr)], [1, true], closed.all);
    assert.equal((await run(["alerts", "acknowledge", "2"])).code, 4);
    assert.equal((await run(["alerts", "acknowledge", "1e3"])).code, 2);
    assert.equal((await run(["alerts", "ackknowledge"])).code, 2);
  });
});

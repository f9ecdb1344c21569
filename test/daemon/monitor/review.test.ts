import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { createAlerts } from "../../../src/daemon/monitor/alerts.ts";
import { HealthTable } from "../../../src/daemon/monitor/health.ts";
import { createReview } from "../../../src/daemon/monitor/review.ts";
import type { Credential } from "../../../src/store/credentials.ts";
import { type MonitorStore, openMonitorStore } from "../../../src/store/monitor.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { storedCredential } from "./stored-credential.ts";

const DAY = 86_400_000;
const START = 1_700_000_000_000;

function scene(t: TestContext, first: readonly Credential[]) {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  const state = { credentials: first, nowMs: START };
  return { state, store, ...watcher(store, state) };
}

function watcher(store: MonitorStore, state: { credentials: readonly Credential[]; nowMs: number }) {
  const lines: string[] = [];
  const line = (msg: string, fields: object = {}): void => {
    lines.push(`${msg} ${JSON.stringify(fields)}`);
  };
  const log = { info: line, warn: line, error: line };
  const now = () => state.nowMs;
  const health = new HealthTable(store, assert.ifError);
  const alerts = createAlerts({ store: store.alerts, dataVersion: () => store.dataVersion(), log, now });
  const credentials = () => state.credentials;
  const review = createReview({ store, health, alerts, log, credentials, now, onFailure: assert.ifError });
  return { lines, health, alerts, review };
}

const notices = (lines: readonly string[]): string[] => lines.filter((line) => /^credential_expire/.test(line));
const open = (alerts: { open(): readonly { kind: string; severity: string }[] }): string[] =>
  alerts.open().map(({ kind, severity }) => `${kind} ${severity}`);

test("an expiry is told at 30, 14, 7 and 1 days and at the end, once each, over restarts", (t) => {
  const expiresAt = START + 40 * DAY;
  const { state, store, ...first } = scene(t, [storedCredential({ expiresAt })]);
  const told: string[] = [];
  let { lines, review } = first;
  for (let hour = 0; hour <= 41 * 24; hour++) {
    state.nowMs = START + hour * 3_600_000;
    if (hour % 100 === 0) {
      told.push(...notices(lines));
      ({ lines, review } = watcher(store, state));
    }
    review();
  }
  told.push(...notices(lines));
  assert.deepEqual(
    told.map((line) => JSON.parse(line.slice(line.indexOf("{"))).days),
    [30, 14, 7, 1, 0],
  );
});

test("the alert of an expiry becomes worse as it comes near, and closes when the expiry moves", (t) => {
  const { state, alerts, review } = scene(t, [storedCredential({ expiresAt: START + 31 * DAY })]);
  const seen: string[] = [];
  for (const left of [31, 29, 13, 6, 0.5, -1]) {
    state.nowMs = START + (31 - left) * DAY;
    review();
    seen.push(open(alerts).join());
  }
  assert.deepEqual(seen, [
    "",
    "credential_expiring info",
    "credential_expiring warning",
    "credential_expiring warning",
    "credential_expiring critical",
    "credential_expired critical",
  ]);
  state.credentials = [storedCredential({ expiresAt: state.nowMs + 90 * DAY })];
  review();
  assert.deepEqual(open(alerts), []);
});

test("an expiry that the provider told counts as one that was entered", (t) => {
  const { health, alerts, review, lines } = scene(t, [storedCredential()]);
  const result = { meaning: "valid", status: 200, detail: "", expiresAt: START + 5 * DAY } as const;
  health.settle(storedCredential(), 1, result, { reason: "schedule", started: START, nextAt: null });
  review();
  assert.deepEqual(open(alerts), ["credential_expiring warning"]);
  assert.equal(notices(lines).length, 1);
});

test("a refused key has one critical alert, which names what to do and closes when another version is current", (t) => {
  const { state, health, alerts, review, lines } = scene(t, [storedCredential()]);
  const result = { meaning: "invalid", status: 401, detail: "GET /k answered 401", expiresAt: null } as const;
  health.settle(storedCredential(), 1, result, { reason: "traffic", started: START, nextAt: null });
  for (let n = 0; n < 5; n++) review();
  const [alert] = alerts.open();
  assert.equal(`${alert?.kind} ${alert?.severity} ${alert?.count}`, "credential_invalid critical 1");
  assert.match(alert?.message ?? "", /main version 1 is out of use: GET \/k answered 401.*credential validate main/);
  assert.equal(lines.filter((line) => line.startsWith("alert_opened")).length, 1);
  state.credentials = [
    storedCredential({ versions: [{ number: 2, stage: "current", createdAt: 0, fingerprint: "" }] }),
  ];
  review();
  assert.deepEqual(open(alerts), []);
});

test("a suspicion that nobody can clear up is told after five minutes", (t) => {
  const { state, health, alerts, review } = scene(t, [storedCredential()]);
  health.suspect("id-main", 1, START);
  review();
  assert.deepEqual(open(alerts), []);
  state.nowMs = START + 5 * 60_000;
  review();
  assert.deepEqual(open(alerts), ["credential_suspect warning"]);
});

test("a disabled or removed credential has no alerts, and other people's alerts are left alone", (t) => {
  const { state, health, alerts, review } = scene(t, [storedCredential()]);
  alerts.raise("backup_failed", "backup:daily", "warning", "the disk is full");
  const result = { meaning: "invalid", status: 401, detail: "", expiresAt: null } as const;
  health.settle(storedCredential(), 1, result, { reason: "traffic", started: START, nextAt: null });
  review();
  assert.equal(alerts.open().length, 2);
  state.credentials = [storedCredential({ state: "disabled" })];
  review();
  assert.deepEqual(open(alerts), ["backup_failed warning"]);
  state.credentials = [storedCredential()];
  review();
  state.credentials = [];
  review();
  assert.deepEqual(open(alerts), ["backup_failed warning"]);
});

test("after a restart an open alert is neither logged again nor forgotten", (t) => {
  const { state, store, health, review } = scene(t, [storedCredential()]);
  const result = { meaning: "invalid", status: 401, detail: "", expiresAt: null } as const;
  health.settle(storedCredential(), 1, result, { reason: "traffic", started: START, nextAt: null });
  review();
  const again = watcher(store, state);
  again.review();
  assert.deepEqual(again.lines, []);
  state.credentials = [];
  again.review();
  assert.deepEqual(open(again.alerts), []);
});

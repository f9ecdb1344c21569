import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import type { AlertChange } from "../../../src/daemon/monitor/alert-changes.ts";
import { ALERT_KIND_NAMES, type AlertKind } from "../../../src/daemon/monitor/alert-kinds.ts";
import { KEPT_FOR_CRITICAL, MAX_OPEN, QUIET_MS } from "../../../src/daemon/monitor/alerts.ts";
import { openMonitorStore } from "../../../src/store/monitor.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { alertScene } from "./alert-scene.ts";

const FAILED = ["backup_failed", "backup", "critical", "the disk is full"] as const;

test("an alert is told when it opens and once it has stayed closed, and not in between", (t) => {
  const { book, lines, pass } = alertScene(t);
  for (let n = 0; n < 3; n++) book.raise(...FAILED);
  assert.equal(book.open()[0]?.count, 3);
  book.clear("backup_failed", "backup");
  book.clear("backup_failed", "backup");
  assert.deepEqual(book.open(), []);
  pass(QUIET_MS - 1000);
  assert.equal(lines.length, 1);
  pass(1000);
  assert.deepEqual(lines, [
    'error alert_opened {"kind":"backup_failed","object":"backup","severity":"critical","message":"the disk is full"}',
    'info alert_closed {"kind":"backup_failed","object":"backup","closed":"2023-11-14T22:13:20.000Z","count":3}',
  ]);
});

test("what opens and closes again and again is one alert, told once", (t) => {
  const { book, lines, changes, pass, store } = alertScene(t);
  book.raise(...FAILED);
  const [{ id } = { id: 0 }] = book.open();
  for (let n = 0; n < 20; n++) {
    book.clear("backup_failed", "backup");
    pass(QUIET_MS - 1000);
    book.raise(...FAILED);
    assert.deepEqual(
      book.open().map((alert) => [alert.id, alert.count, alert.firstAt]),
      [[id, n + 2, 1_700_000_000_000]],
    );
  }
  assert.deepEqual(changes, ["opened backup"]);
  book.clear("backup_failed", "backup");
  pass(QUIET_MS);
  book.raise(...FAILED);
  assert.deepEqual(changes, ["opened backup", "closed backup", "opened backup"]);
  assert.notEqual(book.open()[0]?.id, id);
  assert.equal(store.alerts.closed().length, 1);
  assert.equal(lines.length, 3);
  assert.equal(book.opened().get("backup_failed"), 2);
});

test("each severity has its log level, and a change of it is told", (t) => {
  const { book, lines, changes } = alertScene(t);
  for (const severity of ["info", "warning", "critical", "critical", "warning"] as const) {
    book.raise("credential_expiring", "credential:a", severity, "m");
  }
  assert.deepEqual(
    lines.map((line) => line.split(" ").slice(0, 2).join(" ")),
    ["info alert_opened", "warn alert_changed", "error alert_changed", "warn alert_changed"],
  );
  assert.deepEqual(changes, [
    "opened credential:a",
    "severity credential:a info>warning",
    "severity credential:a warning>critical",
    "severity credential:a critical>warning",
  ]);
  assert.equal(book.open()[0]?.count, 5);
});

test("an alert that lapses closes by itself unless it is raised again", (t) => {
  const { book, nowMs, pass } = alertScene(t);
  book.raise("foreign_key_seen", "client:app/fmp", "warning", "m", nowMs() + 60_000);
  pass(50_000);
  book.raise("foreign_key_seen", "client:app/fmp", "warning", "m", nowMs() + 60_000);
  pass(59_000);
  assert.equal(book.open().length, 1);
  pass(1_000);
  assert.deepEqual(book.open(), []);
});

test("a restart neither forgets nor repeats: what is open, counted, lapsing or waits to be told as closed", (t) => {
  const first = alertScene(t);
  first.book.raise(...FAILED);
  first.book.raise(...FAILED);
  first.book.raise("unknown_host", "client:app", "info", "m", first.nowMs() + 60_000);
  first.book.raise("pool_empty", "route:r", "critical", "m");
  first.book.clear("pool_empty", "route:r");
  const again = first.restart();
  assert.deepEqual(
    again.book.open().map(({ kind, count }) => [kind, count]),
    [
      ["backup_failed", 2],
      ["unknown_host", 1],
    ],
  );
  again.book.raise("pool_empty", "route:r", "critical", "m");
  again.book.raise(...FAILED);
  assert.deepEqual(again.changes, []);
  again.pass(60_000);
  assert.equal(again.book.open().length, 2);
  again.book.clear("pool_empty", "route:r");
  again.pass(QUIET_MS);
  assert.deepEqual(again.changes.sort(), ["closed client:app", "closed route:r"]);
  const third = again.restart();
  third.pass(QUIET_MS);
  assert.deepEqual(third.changes, []);
  assert.deepEqual(
    third.book.open().map(({ kind, count }) => [kind, count]),
    [["backup_failed", 3]],
  );
});

test("counting an open alert costs no write until five seconds are over", (t) => {
  const { book, store, pass } = alertScene(t);
  book.raise(...FAILED);
  pass(1_000);
  for (let n = 0; n < 1_000; n++) book.raise(...FAILED);
  pass(4_000);
  assert.equal(store.alerts.open()[0]?.count, 1);
  pass(1_000);
  assert.equal(store.alerts.open()[0]?.count, 1_001);
});

test("what another process acknowledged is shown; when it becomes worse it has not been seen", (t) => {
  const { book, store, pass, other } = alertScene(t);
  book.raise("unknown_host", "client:app", "info", "m");
  const [{ id } = { id: 0 }] = book.open();
  assert.equal(other().alerts.acknowledge(id, "cli:ana", 7), "done");
  assert.equal(book.open()[0]?.acknowledgedBy, "cli:ana");
  book.raise("unknown_host", "client:app", "info", "m");
  pass(5_000);
  assert.equal(store.alerts.open()[0]?.acknowledgedBy, "cli:ana");
  book.raise("unknown_host", "client:app", "warning", "m");
  assert.equal(book.open()[0]?.acknowledgedBy, null);
  assert.equal(store.alerts.open()[0]?.acknowledgedBy, null);
});

test("an alert that cannot be stored is still told and kept, once, and stored as soon as it can be", (t) => {
  const { book, lines, failing, store, pass } = alertScene(t);
  failing(true);
  for (let n = 0; n < 5; n++) book.raise("credential_invalid", "credential:a", "critical", "it burns");
  pass(20_000);
  assert.equal(lines.filter((line) => line.startsWith("error alert_opened") && line.includes("it burns")).length, 1);
  assert.equal(lines.filter((line) => line.startsWith("error alerts")).length, 1);
  assert.equal(book.open()[0]?.count, 5);
  assert.equal(book.open()[0]?.id, 0);
  failing(false);
  pass(5_000);
  assert.equal(store.alerts.open()[0]?.count, 5);
  assert.equal(book.open()[0]?.id, store.alerts.open()[0]?.id);
  failing(true);
  book.clear("credential_invalid", "credential:a");
  assert.deepEqual(book.open(), []);
  failing(false);
  pass(5_000);
  assert.deepEqual(store.alerts.open(), []);
});

test("more alerts than can be kept are refused, which is logged once, and there is room left for critical ones", (t) => {
  const { book, lines } = alertScene(t);
  const room = MAX_OPEN - KEPT_FOR_CRITICAL;
  for (let n = 0; n < MAX_OPEN + 50; n++) book.raise("unknown_host", `client:${n}`, "info", "m");
  assert.equal(book.open().length, room);
  assert.equal(lines.filter((line) => line.startsWith("error alerts")).length, 1);
  book.clear("unknown_host", "client:0");
  book.raise("unknown_host", "client:last", "info", "m");
  assert.equal(book.open().length, room);
  for (let n = 0; n < MAX_OPEN; n++) book.raise("honeytoken_used", `credential:${n}`, "critical", "m");
  assert.equal(book.open().length, MAX_OPEN);
});

test("a listener that throws, or raises alerts itself, disturbs nobody", (t) => {
  const { book, lines } = alertScene(t);
  const seen: string[] = [];
  book.subscribe(() => {
    throw new Error("a secret in a message");
  });
  const end = book.subscribe(({ what, alert }) => {
    seen.push(`${what} ${alert.object}`);
    if (alert.object === "backup") book.raise("pool_empty", "route:r", "critical", "m");
  });
  const later: string[] = [];
  const endLater = book.subscribe(({ alert }) => later.push(alert.object));
  book.raise(...FAILED);
  assert.deepEqual(seen, ["opened backup", "opened route:r"]);
  assert.deepEqual(later, ["backup", "route:r"], "everybody is told in the same order");
  endLater();
  assert.equal(lines.filter((line) => line.includes("a listener failed: Error")).length, 2);
  assert.ok(!lines.join().includes("a secret"));
  end();
  book.raise("pool_down_to_one", "route:r", "warning", "m");
  assert.equal(seen.length, 2);
  for (let n = 0; n < 14; n++) book.subscribe(() => {});
  assert.throws(() => book.subscribe(() => {}), /more than 16/);
});

type Step = { readonly kind: AlertKind; readonly object: string; readonly act: "raise" | "clear" | "look" | "restart" };

const step: fc.Arbitrary<{ step: Step; afterMs: number }> = fc.record({
  step: fc.record({
    kind: fc.constantFrom(...ALERT_KIND_NAMES.slice(0, 3)),
    object: fc.constantFrom("a", "b"),
    act: fc.constantFrom("raise", "raise", "clear", "look", "restart"),
  }),
  afterMs: fc.constantFrom(0, 1_000, 6_000, QUIET_MS),
});

test("whatever happens in whatever order, each end that is told follows a beginning that was told (property)", (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let scene = alertScene(t);
      const told: string[] = [];
      const open = new Set<string>();
      for (const { step, afterMs } of steps) {
        const key = `${step.kind} ${step.object}`;
        if (step.act === "raise") scene.book.raise(step.kind, step.object, "warning", "m");
        if (step.act === "clear") scene.book.clear(step.kind, step.object);
        if (step.act === "raise") open.add(key);
        if (step.act === "clear") open.delete(key);
        scene.pass(afterMs);
        if (step.act === "restart") {
          told.push(...scene.keyed);
          scene = scene.restart();
        }
        const shown = scene.book.open().map(({ kind, object }) => `${kind} ${object}`);
        assert.deepEqual(new Set(shown), open);
      }
      told.push(...scene.keyed);
      for (const key of new Set(told.map((line) => line.slice(line.indexOf(" ") + 1)))) {
        const own = told.filter((line) => line.endsWith(` ${key}`)).map((line) => line.split(" ")[0]);
        own.forEach((what, at) => {
          assert.equal(what, at % 2 === 0 ? "opened" : "closed", `${key}: ${own.join()}`);
        });
      }
      scene.end();
    }),
    { numRuns: 60 },
  );
});

test("every change that is told says what it is about", (t: TestContext) => {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  const { book } = alertScene(t);
  const seen: AlertChange[] = [];
  book.subscribe((change) => seen.push(change));
  book.raise("budget_threshold", "limit:r/spend", "info", "half");
  book.raise("budget_threshold", "limit:r/spend", "warning", "more");
  assert.deepEqual(
    seen.map(({ what, alert }) => [what, alert.severity, alert.message, alert.id > 0]),
    [
      ["opened", "info", "half", true],
      ["severity", "warning", "more", true],
    ],
  );
});

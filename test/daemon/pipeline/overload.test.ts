import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import {
  createOverloadGate,
  type Entrant,
  type OverloadGate,
  type OverloadOptions,
} from "../../../src/daemon/pipeline/overload.ts";

/** As many ticks as make a window. */
const WINDOW = 5;
const LATE_MS = 2_000;

function gateOf(options: Partial<OverloadOptions> = {}): OverloadGate {
  // A turn that never comes: who has to wait still holds its place.
  return createOverloadGate({ maxPerClient: 256, maxInFlight: 4096, nextTurn: () => {}, ...options });
}

function entrant(client: string): Entrant {
  return { identity: { client, user: null }, counted: false };
}

/** The exchange, when it was let in; else null. */
function tried(gate: OverloadGate, client: string, reason = "saturated"): Entrant | null {
  const x = entrant(client);
  try {
    void gate.enter(x);
    return x;
  } catch (error) {
    assert.ok(error instanceof ProxyError);
    assert.deepEqual([error.code, error.reason, error.status], ["overloaded", reason, 503]);
    assert.deepEqual(error.fields, ["Retry-After", "1"]);
    assert.equal(x.counted, false);
    return null;
  }
}

/** Tries `count` exchanges that end at once; how many were let in. */
function burst(gate: OverloadGate, client: string, count: number): number {
  let letIn = 0;
  for (let n = 0; n < count; n++) {
    const x = tried(gate, client);
    if (x === null) continue;
    letIn++;
    gate.leave(x);
  }
  return letIn;
}

function ticks(gate: OverloadGate, count: number, lateMs: number): void {
  for (let n = 0; n < count; n++) gate.tick(lateMs);
}

test("a client may have so many exchanges in flight and no more; another client is not touched by it", () => {
  const gate = gateOf({ maxPerClient: 2 });
  const one = tried(gate, "app");
  tried(gate, "app");
  assert.equal(tried(gate, "app", "client_concurrency"), null);
  assert.ok(tried(gate, "batch"));
  const refused = entrant("app");
  gate.leave(refused);
  assert.equal(tried(gate, "app", "client_concurrency"), null, "one that was refused gives no place back");
  assert.ok(one);
  gate.leave(one);
  gate.leave(one);
  assert.ok(tried(gate, "app"));
  assert.equal(tried(gate, "app", "client_concurrency"), null, "who leaves twice gives one place back");
});

test("a client that is alone begins at once, however many come together", () => {
  const gate = gateOf();
  for (let n = 0; n < 200; n++) assert.equal(gate.enter(entrant("app")), null);
});

test("with a second client about, a burst waits for its turns", () => {
  const gate = gateOf();
  gate.leave(tried(gate, "quiet") as Entrant);
  const waits = Array.from({ length: 20 }, () => gate.enter(entrant("flood")) !== null);
  assert.deepEqual(
    waits,
    Array.from({ length: 20 }, (_, n) => n >= 8),
  );
});

test("when all places are taken, only clients under their equal share begin another exchange", () => {
  const gate = gateOf({ maxInFlight: 100 });
  for (let n = 0; n < 100; n++) assert.ok(tried(gate, "flood"), `place ${n}`);
  assert.equal(tried(gate, "flood"), null);
  for (let n = 0; n < 50; n++) assert.ok(tried(gate, "quiet"), `the quiet client's place ${n}`);
  assert.equal(tried(gate, "quiet"), null, "half of all places is its share");
  for (let n = 0; n < 33; n++) assert.ok(tried(gate, "third"));
  assert.equal(tried(gate, "third"), null);
  assert.equal(gate.inFlight, 183);
});

test("even clients under their share find no place beyond twice the bound", () => {
  const gate = gateOf({ maxInFlight: 10 });
  for (let client = 0; client < 100; client++) for (let n = 0; n < 10; n++) tried(gate, `client ${client}`);
  assert.equal(gate.inFlight, 20);
});

test("one long pause of the event loop is no overload; lasting lateness is, until it has gone for good", () => {
  const gate = gateOf();
  gate.tick(800);
  assert.equal(gate.saturated, false);
  ticks(gate, 4, 0);
  ticks(gate, 4, 400);
  assert.equal(gate.saturated, true);
  gate.tick(0);
  assert.equal(gate.saturated, true, "between the two thresholds it stays what it was");
  ticks(gate, 5, 0);
  assert.equal(gate.saturated, false);
  ticks(gate, 20, 200);
  assert.equal(gate.saturated, false);
});

test("while saturated, a flood is cut in halves and a quiet client passes untouched", () => {
  const gate = gateOf();
  burst(gate, "flood", 1000);
  burst(gate, "quiet", 10);
  ticks(gate, WINDOW, LATE_MS);
  assert.equal(gate.saturated, true);
  const letIn: number[] = [];
  for (let window = 0; window < 6; window++) {
    letIn.push(burst(gate, "flood", 1000));
    assert.equal(burst(gate, "quiet", 10), 10, `window ${window}`);
    ticks(gate, WINDOW, LATE_MS);
  }
  assert.deepEqual(letIn, [252, 65, 18, 16, 16, 16]);
  ticks(gate, 4 * WINDOW, 0);
  assert.equal(burst(gate, "flood", 1000), 1000, "once it has recovered, everybody comes in again");
});

test("while saturated, streams that idle are no load: who begins much is refused, not who has much open", () => {
  const gate = gateOf({ maxPerClient: 4000 });
  for (let n = 0; n < 3000; n++) tried(gate, "streams");
  ticks(gate, WINDOW, 0);
  burst(gate, "flood", 400);
  ticks(gate, WINDOW, LATE_MS);
  assert.equal(burst(gate, "flood", 400), 200);
  assert.ok(tried(gate, "streams"));
});

test("while saturated, a client that is alone is not refused: there is nobody to make room for", () => {
  const gate = gateOf();
  ticks(gate, WINDOW, LATE_MS);
  assert.equal(burst(gate, "app", 1000), 1000);
});

test("a client is forgotten a minute after its last exchange, and not while one is in flight", () => {
  const gate = gateOf();
  const held = tried(gate, "held") as Entrant;
  gate.leave(tried(gate, "gone") as Entrant);
  assert.notEqual(nthOf(gate, "held", 9), null, "two clients take turns");
  ticks(gate, 241 * WINDOW, 0);
  assert.equal(nthOf(gate, "held", 20), null, "one client does not");
  gate.leave(held);
  assert.equal(gate.inFlight, 29);
});

/** What the n-th of a burst gets. */
function nthOf(gate: OverloadGate, client: string, n: number): Promise<void> | null {
  let last: Promise<void> | null = null;
  for (let i = 0; i < n; i++) last = gate.enter(entrant(client));
  return last;
}

test("whatever comes and goes: counts never drift, bounds hold, and a client under its share is never refused", () => {
  const step = fc.record({
    client: fc.constantFrom("a", "b", "c", "d"),
    leave: fc.boolean(),
    tick: fc.option(fc.integer({ min: 0, max: 1_000 }), { freq: 10 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const gate = gateOf({ maxPerClient: 9, maxInFlight: 12 });
      const open = new Map<string, Entrant[]>([..."abcd"].map((client) => [client, []]));
      const total = (): number => [...open.values()].reduce((sum, mine) => sum + mine.length, 0);
      for (const { client, leave, tick } of steps) {
        if (tick !== null) gate.tick(tick);
        const mine = open.get(client) ?? [];
        const last = leave ? mine.pop() : undefined;
        if (last) gate.leave(last);
        if (leave) continue;
        const busy = [...open.values()].filter((all) => all.length > 0).length + (mine.length === 0 ? 1 : 0);
        const mustEnter = mine.length < 9 && mine.length < Math.floor(12 / busy) && total() < 24 && !gate.saturated;
        const before = total();
        let entered: Entrant | null = entrant(client);
        try {
          void gate.enter(entered);
        } catch {
          entered = null;
        }
        if (entered) mine.push(entered);
        assert.ok(entered !== null || !mustEnter, `${client} was refused with ${mine.length} of ${before}`);
        assert.ok(mine.length <= 9 && total() <= 24);
        assert.equal(gate.inFlight, total());
      }
      for (const x of [...open.values()].flat()) gate.leave(x);
      assert.equal(gate.inFlight, 0);
    }),
  );
});

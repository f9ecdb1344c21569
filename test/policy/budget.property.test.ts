import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Calendar } from "../../src/policy/calendar.ts";
import type { LimitSpec } from "../../src/policy/compile.ts";
import { type Hold, LimitTable } from "../../src/policy/limit.ts";
import { tokens, tokensPer } from "./limit-steps.ts";

fc.configureGlobal({ seed: 20260901 });

const MINUTE = 60_000_000;
const LEASE_MS = 90 * 60_000;
const KEY = "tokens\nbudget";

/** One call in the books: what it counts with, and from when on that belongs to the past. */
interface Entry {
  readonly hold: Hold | null;
  readonly held: number;
  amount: number;
  /** When the amount was used; null while the call is in flight. */
  atUs: number | null;
  readonly deadlineUs: number;
}

/** The same budget, kept as a list of calls that is gone through each time. */
class Books {
  entries: Entry[] = [];
  latestUs = 0;
  readonly #calendar: Calendar | null;
  readonly #spec: LimitSpec;
  readonly #leaseUs: number;

  constructor(spec: LimitSpec, leaseMs: number) {
    const { calendar = null } = spec.budget ?? {};
    this.#spec = spec;
    this.#leaseUs = leaseMs * 1000;
    this.#calendar = calendar && new Calendar(calendar.unit, calendar.zone);
  }

  /** @param longerUs by how much longer than its period a sliding window remembers */
  counted(nowUs: number, longerUs: number): number {
    const timeUs = Math.max(nowUs, this.latestUs);
    const periodUs = this.#spec.periodMs * 1000;
    const cutoffUs = this.#calendar ? this.#calendar.periodAt(timeUs).startUs - 1 : timeUs - periodUs - longerUs;
    return this.entries
      .filter(({ atUs, deadlineUs }) => {
        const usedUs = atUs ?? (deadlineUs <= timeUs ? deadlineUs : null);
        return usedUs === null || usedUs > cutoffUs;
      })
      .reduce((sum, { amount }) => sum + amount, 0);
  }

  reserve(hold: Hold, amount: number, nowUs: number): void {
    this.latestUs = Math.max(nowUs, this.latestUs);
    this.entries.push({ hold, held: amount, amount, atUs: null, deadlineUs: this.latestUs + this.#leaseUs });
  }

  settle(entry: Entry, used: number | null, nowUs: number): void {
    this.latestUs = Math.max(nowUs, this.latestUs);
    const timeUs = this.latestUs;
    const real = used ?? entry.held;
    if (entry.deadlineUs > timeUs) {
      entry.amount = real;
      entry.atUs = timeUs;
      return;
    }
    entry.atUs = entry.deadlineUs;
    const forgotten = this.#calendar
      ? entry.deadlineUs < this.#calendar.periodAt(timeUs).startUs
      : entry.deadlineUs <= timeUs - this.#spec.periodMs * 1000;
    const more = forgotten ? real : Math.max(0, real - entry.held);
    this.entries.push({ ...entry, amount: more, atUs: timeUs, hold: null });
  }

  refund(entry: Entry, nowUs: number): void {
    this.latestUs = Math.max(nowUs, this.latestUs);
    if (entry.deadlineUs > this.latestUs) entry.amount = 0;
    entry.atUs = Math.min(entry.deadlineUs, this.latestUs);
  }

  /** The process dies; the next one starts at `nowUs`. */
  restart(nowUs: number): void {
    const ahead = this.#calendar ? 0 : Math.max(0, this.latestUs - nowUs);
    this.latestUs = Math.max(nowUs, this.latestUs - ahead);
    this.entries = this.entries.map((entry) => ({
      ...entry,
      hold: null,
      atUs: entry.atUs === null ? Math.min(entry.deadlineUs - ahead, this.latestUs) : entry.atUs - ahead,
    }));
  }

  inFlight(pick: number): Entry | undefined {
    const open = this.entries.filter(({ atUs, hold }) => atUs === null && hold !== null);
    return open[pick % Math.max(1, open.length)];
  }
}

type Step =
  | { readonly do: "reserve"; readonly amount: number }
  | { readonly do: "settle"; readonly pick: number; readonly used: number | null }
  | { readonly do: "refund"; readonly pick: number }
  | { readonly do: "go"; readonly minutes: number }
  | { readonly do: "back"; readonly minutes: number }
  | { readonly do: "crash"; readonly back: number };

const anySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("reserve" as const), amount: fc.nat(60) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("settle" as const),
        pick: fc.nat(20),
        used: fc.option(fc.nat(90), { freq: 4 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("refund" as const), pick: fc.nat(20) }) },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("go" as const),
        minutes: fc.oneof(fc.nat(20), fc.nat(150), fc.nat(1500)),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("back" as const), minutes: fc.nat(300) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const), back: fc.nat(300) }) },
  ),
  { maxLength: 70 },
);

/** A call, for those who have never heard of reservations: it may be booked at any moment from begin to end. */
interface Call {
  readonly hold: Hold;
  readonly fromUs: number;
  toUs: number;
  used: number;
}

/** Table and books side by side. */
class Play {
  readonly spec: LimitSpec;
  readonly books: Books;
  table: LimitTable;
  nowUs: number;
  calls: Call[] = [];
  readonly #leaseMs: number;

  constructor(spec: LimitSpec, start: string, leaseMs = LEASE_MS) {
    this.spec = spec;
    this.books = new Books(spec, leaseMs);
    this.nowUs = Date.parse(start) * 1000;
    this.#leaseMs = leaseMs;
    this.table = new LimitTable({ leaseMs });
  }

  run(step: Step): void {
    const { books, spec, table } = this;
    if (step.do === "go") this.nowUs += step.minutes * MINUTE + 1;
    else if (step.do === "back") this.nowUs -= step.minutes * MINUTE;
    else if (step.do === "crash") this.crash(step.back);
    else if (step.do === "reserve") {
      const result = table.tryReserve([{ spec, key: KEY }], this.nowUs, tokens(step.amount));
      if (result.ok) {
        books.reserve(result.hold, step.amount, this.nowUs);
        const fromUs = books.latestUs;
        this.calls.push({ hold: result.hold, fromUs, toUs: Number.POSITIVE_INFINITY, used: step.amount });
      } else this.assertRefusedRightly(step.amount);
    } else {
      const entry = books.inFlight(step.pick);
      if (entry?.hold == null) return;
      if (step.do === "refund") {
        table.refund(entry.hold, this.nowUs);
        books.refund(entry, this.nowUs);
        this.calls = this.calls.filter(({ hold }) => hold !== entry.hold);
      } else {
        const used = step.used === null ? null : { tokens: step.used, nanoUsd: null };
        table.release(entry.hold, used, this.nowUs);
        books.settle(entry, step.used, this.nowUs);
        const call = this.calls.find(({ hold }) => hold === entry.hold);
        if (call) Object.assign(call, { toUs: books.latestUs, used: step.used ?? entry.held });
      }
    }
  }

  crash(back: number): void {
    const rows = this.table.exportState();
    const old = this.books.inFlight(0)?.hold;
    this.nowUs -= back * MINUTE;
    this.table = new LimitTable({ leaseMs: this.#leaseMs });
    this.table.importState(rows, this.nowUs);
    if (rows.length > 0) this.books.restart(this.nowUs);
    const diedUs = this.books.latestUs;
    this.calls = this.calls.map((call) => ({ ...call, toUs: Math.min(call.toUs, diedUs) }));
    if (old) this.table.release(old, { tokens: 90, nanoUsd: null }, this.nowUs);
  }

  assertRefusedRightly(amount: number): void {
    const most = this.books.counted(this.nowUs, this.sliceUs);
    assert.ok(most + amount > this.spec.count, `refused ${amount} with ${most} counted`);
  }

  /** Neither more nor less than the books say; in a sliding window what is up to a slice older may count too. */
  assertAgreement(): void {
    const { remaining } = this.table.remaining(this.spec, KEY, this.nowUs);
    const least = Math.max(0, this.spec.count - this.books.counted(this.nowUs, this.sliceUs));
    const most = Math.max(0, this.spec.count - this.books.counted(this.nowUs, 0));
    assert.ok(remaining >= least && remaining <= most, `${remaining} remain, not ${least} to ${most}`);
  }

  get sliceUs(): number {
    return this.spec.budget?.calendar ? 0 : Math.ceil((this.spec.periodMs * 1000) / 120);
  }
}

const calendar = (unit: "day" | "week" | "month", zone: string) => ({ calendar: { unit, zone } });
const SPECS: readonly LimitSpec[] = [
  tokensPer(100, 3_600_000),
  tokensPer(100, 86_400_000),
  tokensPer(100, 86_400_000, calendar("day", "UTC")),
  tokensPer(100, 86_400_000, calendar("day", "Asia/Kathmandu")),
  tokensPer(100, 86_400_000, calendar("day", "America/Sao_Paulo")),
  tokensPer(100, 7 * 86_400_000, calendar("week", "Europe/Berlin")),
  tokensPer(100, 31 * 86_400_000, calendar("month", "Australia/Lord_Howe")),
];
const anyStart = fc.constantFrom("2018-11-03T20:00Z", "2026-03-28T23:30Z", "2026-10-24T21:00Z", "2026-12-31T23:00Z");

test("a budget counts what a plain list of calls counts, through crashes, aborts and clock jumps", () => {
  fc.assert(
    fc.property(fc.constantFrom(...SPECS), anyStart, anySteps, (spec, start, steps) => {
      const play = new Play(spec, start);
      for (const step of steps) {
        play.run(step);
        play.assertAgreement();
      }
    }),
    { numRuns: 1500 },
  );
});

test("whatever happened, nothing drifts: once all is settled and the window has passed, all of it is there again", () => {
  fc.assert(
    fc.property(fc.constantFrom(...SPECS), anyStart, anySteps, fc.boolean(), (spec, start, steps, leak) => {
      const play = new Play(spec, start);
      for (const step of steps) play.run(step);
      // What is never settled is given up by its lease.
      for (let entry = play.books.inFlight(0); entry?.hold && !leak; entry = play.books.inFlight(0)) {
        play.table.release(entry.hold, null, play.nowUs);
        play.books.settle(entry, null, play.nowUs);
      }
      const period = spec.periodMs * 1000 + 3 * 3_600_000_000;
      play.nowUs = Math.max(play.nowUs, play.books.latestUs) + period + LEASE_MS * 1000;
      assert.equal(play.table.remaining(spec, KEY, play.nowUs).remaining, spec.count);
    }),
    { numRuns: 700 },
  );
});

test("with calls that keep to what they held, no window is over, whenever in its course a call is booked", () => {
  fc.assert(
    fc.property(fc.constantFrom(...SPECS), anyStart, anySteps, (spec, start, steps) => {
      const play = new Play(spec, start, 100 * 365 * 86_400_000);
      for (const step of steps) {
        // Sliding times move when the clock was set back over a restart; the other two tests look at that.
        if (step.do === "crash") play.run({ ...step, back: 0 });
        else if (step.do !== "settle") play.run(step);
        else play.run({ ...step, used: Math.min(step.used ?? 90, play.books.inFlight(step.pick)?.held ?? 0) });
      }
      const { calendar = null } = spec.budget ?? {};
      const periods = calendar && new Calendar(calendar.unit, calendar.zone);
      for (const { fromUs, toUs } of play.calls) {
        for (const edge of [fromUs, toUs].filter(Number.isFinite)) {
          const { startUs, endUs } = periods?.periodAt(edge) ?? { startUs: edge, endUs: edge + spec.periodMs * 1000 };
          const inside = play.calls.filter((call) => call.fromUs < endUs && call.toUs >= startUs);
          assert.ok(inside.reduce((sum, { used }) => sum + used, 0) <= spec.count);
        }
      }
    }),
    { numRuns: 1500 },
  );
});

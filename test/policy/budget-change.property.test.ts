import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Calendar } from "../../src/policy/calendar.ts";
import type { LimitSpec } from "../../src/policy/compile.ts";
import { type Hold, LimitTable } from "../../src/policy/limit.ts";
import { tokens, tokensPer } from "./limit-steps.ts";

fc.configureGlobal({ seed: 20260901 });

const MINUTE = 60_000_000;
const KEY = "tokens\nbudget";

const calendar = (unit: "day" | "week" | "month", zone: string) => ({ calendar: { unit, zone } });
/** What a budget may be changed into, and back. */
const SPECS: readonly LimitSpec[] = [
  tokensPer(100, 60_000),
  tokensPer(150, 3_600_000),
  tokensPer(100, 86_400_000),
  tokensPer(70, 86_400_000, calendar("day", "Europe/Berlin")),
  tokensPer(200, 86_400_000, calendar("day", "Asia/Kathmandu")),
  tokensPer(100, 7 * 86_400_000, calendar("week", "UTC")),
  tokensPer(300, 31 * 86_400_000, calendar("month", "America/New_York")),
];
const LONGEST_SLICE_US = (31 * 86_400_000_000) / 120;

type Step =
  | { readonly do: "call"; readonly amount: number }
  | { readonly do: "hold"; readonly amount: number }
  | { readonly do: "settle"; readonly pick: number; readonly share: number }
  | { readonly do: "change"; readonly to: number }
  | { readonly do: "go"; readonly minutes: number };

const anySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("call" as const), amount: fc.integer({ min: 1, max: 60 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("hold" as const), amount: fc.integer({ min: 1, max: 60 }) }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("settle" as const), pick: fc.nat(9), share: fc.nat(150) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("change" as const), to: fc.nat(SPECS.length - 1) }) },
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant("go" as const), minutes: fc.oneof(fc.nat(2), fc.nat(90), fc.nat(3000)) }),
    },
  ),
  { maxLength: 60 },
);

interface Use {
  readonly amount: number;
  readonly atUs: number;
  /** It had left the windows of now and of before the last change when the budget was used: it need not be known any more. */
  forgotten: boolean;
}

class Play {
  readonly table = new LimitTable({ leaseMs: 100 * 365 * 86_400_000 });
  spec = SPECS[0] ?? assert.fail();
  nowUs = Date.parse("2026-03-27T10:00Z") * 1000;
  /** The limits of the last reservations, latest first. */
  reserved: LimitSpec[] = [];
  uses: Use[] = [];
  open: { readonly hold: Hold; readonly amount: number }[] = [];

  run(step: Step): void {
    if (step.do === "go") this.nowUs += step.minutes * MINUTE + 7;
    else if (step.do === "change") this.spec = SPECS[step.to] ?? this.spec;
    else if (step.do === "settle") this.settle(step.pick, step.share);
    else {
      const result = this.table.tryReserve([{ spec: this.spec, key: KEY }], this.nowUs, tokens(step.amount));
      if (!result.ok) return;
      if (this.reserved[0] !== this.spec) this.reserved = [this.spec, ...this.reserved.slice(0, 1)];
      this.forget();
      this.open.push({ hold: result.hold, amount: step.amount });
      if (step.do === "call") this.settle(this.open.length - 1, 100);
    }
  }

  settle(pick: number, share: number): void {
    const [call] = this.open.splice(pick % Math.max(1, this.open.length), 1);
    if (call === undefined) return;
    const used = Math.ceil((call.amount * share) / 100);
    this.table.release(call.hold, { tokens: used, nanoUsd: null }, this.nowUs);
    this.forget();
    this.uses.push({ amount: used, atUs: this.nowUs, forgotten: false });
  }

  forget(): void {
    const cutoffUs = Math.min(...this.reserved.map((spec) => cutoffOf(spec, this.nowUs)));
    for (const use of this.uses) if (use.atUs <= cutoffUs) use.forgotten = true;
  }

  /** What counts: at least what cannot have been forgotten, at most all that may still be in a slice. */
  assertInBounds(): void {
    const { remaining } = this.table.remaining(this.spec, KEY, this.nowUs);
    const reserved = this.open.reduce((sum, { amount }) => sum + amount, 0);
    const cutoffUs = cutoffOf(this.spec, this.nowUs);
    const least = sumOf(this.uses.filter(({ atUs, forgotten }) => atUs > cutoffUs && !forgotten));
    const most = sumOf(this.uses.filter(({ atUs }) => atUs > cutoffUs - LONGEST_SLICE_US));
    assert.ok(remaining <= Math.max(0, this.spec.count - reserved - least), `${remaining} remain, too much`);
    assert.ok(remaining >= Math.max(0, this.spec.count - reserved - most), `${remaining} remain, too little`);
  }
}

function sumOf(uses: readonly Use[]): number {
  return uses.reduce((sum, { amount }) => sum + amount, 0);
}

function cutoffOf({ budget, periodMs }: LimitSpec, nowUs: number): number {
  if (!budget?.calendar) return nowUs - periodMs * 1000;
  return new Calendar(budget.calendar.unit, budget.calendar.zone).periodAt(nowUs).startUs - 1;
}

test("whatever a budget is changed into, it goes on from what it knows, and nothing drifts", () => {
  fc.assert(
    fc.property(anySteps, (steps) => {
      const play = new Play();
      for (const step of steps) {
        play.run(step);
        play.assertInBounds();
      }
      while (play.open.length > 0) play.settle(0, 100);
      play.nowUs += 70 * 86_400_000_000;
      for (const spec of SPECS) {
        assert.equal(play.table.remaining(spec, KEY, play.nowUs).remaining, spec.count);
      }
    }),
    { numRuns: 300 },
  );
});

test("a larger or smaller amount counts exactly what the other one counted", () => {
  fc.assert(
    fc.property(anySteps, fc.constantFrom(...SPECS), fc.integer({ min: 1, max: 400 }), (steps, spec, count) => {
      const play = new Play();
      play.spec = spec;
      for (const step of steps) if (step.do !== "change") play.run(step);
      const { remaining } = play.table.remaining({ ...spec, count: 1_000_000, burst: 1_000_000 }, KEY, play.nowUs);
      const other = play.table.remaining({ ...spec, count, burst: count }, KEY, play.nowUs).remaining;
      assert.equal(other, Math.max(0, count - (1_000_000 - remaining)));
    }),
    { numRuns: 200 },
  );
});

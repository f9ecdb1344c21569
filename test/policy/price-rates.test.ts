import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { charge, compileRates, requestLength } from "../../src/policy/price-rates.ts";
import { NANO, parsePrice, type UnitPrice } from "../../src/policy/price-value.ts";
import { UNITS, type Unit, type Units } from "../../src/providers/usage/usage.ts";

const PLAIN = { currency: NANO, tier: NANO, peak: NANO };

function ratesOf(prices: Readonly<Partial<Record<Unit, string | number>>>) {
  const entries = Object.entries(prices) as [Unit, string | number][];
  return compileRates(new Map(entries.map(([unit, price]) => [unit, parsePrice(unit, price)])), PLAIN);
}

const COUNT = fc.oneof(fc.nat(1_000), fc.nat(10_000_000), fc.maxSafeNat());
const UNITS_USED: fc.Arbitrary<Units> = fc
  .dictionary(fc.constantFrom(...UNITS), COUNT, { maxKeys: 6 })
  .map((units) => ({ ...units }));
const QUANTITIES = [1n, 60n, 1_000n, 3_600n, 1_000_000n, 1_000_000_000n];
const PRICE: fc.Arbitrary<UnitPrice> = fc.record({
  nano: fc.oneof(fc.bigInt(0n, 1_000n), fc.bigInt(0n, 1_000_000_000_000_000n)),
  quantity: fc.constantFrom(...QUANTITIES),
});
const PRICES = fc.array(PRICE, { minLength: UNITS.length, maxLength: UNITS.length });
const FACTOR = fc.bigInt(1n, 3n * NANO);

/** The same sum as fractions, the slow way. */
function exactNano(units: Units, prices: readonly UnitPrice[], factor: (unit: Unit) => bigint): bigint {
  const common = 9_000_000_000n * NANO ** 3n;
  const sum = UNITS.reduce((all, unit, index) => {
    const { nano = 0n, quantity = 1n } = prices[index] ?? {};
    return all + BigInt(units[unit] ?? 0) * nano * (9_000_000_000n / quantity) * factor(unit);
  }, 0n);
  return (sum + common - 1n) / common;
}

const isToken = (unit: Unit): boolean => UNITS.indexOf(unit) < UNITS.indexOf("request");

test("a call costs the exact sum, rounded up once to a whole nano-dollar, by any prices and factors", () => {
  fc.assert(
    fc.property(UNITS_USED, PRICES, FACTOR, FACTOR, FACTOR, (units, prices, currency, tier, peak) => {
      const rates = compileRates(new Map(UNITS.map((unit, index) => [unit, prices[index] as UnitPrice])), {
        currency,
        tier,
        peak,
      });
      const exact = exactNano(units, prices, (unit) => currency * (isToken(unit) ? tier * peak : NANO * NANO));
      const { nanoUsd, unpriced } = charge(units, rates);
      assert.deepEqual(unpriced, []);
      assert.equal(BigInt(nanoUsd), exact > Number.MAX_SAFE_INTEGER ? BigInt(Number.MAX_SAFE_INTEGER) : exact);
    }),
    { numRuns: 500 },
  );
});

test("units that are split over calls cost as much as together, and at most a nano-dollar more per call", () => {
  const rates = ratesOf({
    input: 0.003625,
    cached_input: "0.000000001",
    output: 0.87,
    second: "0.111/h",
    web_search: 0.01,
  });
  const used = fc.record({ input: fc.nat(1e6), cached_input: fc.nat(1e6), output: fc.nat(1e6), second: fc.nat(1e5) });
  fc.assert(
    fc.property(fc.array(used, { minLength: 1, maxLength: 20 }), (calls) => {
      const whole = calls.reduce((all, call) => ({
        input: all.input + call.input,
        cached_input: all.cached_input + call.cached_input,
        output: all.output + call.output,
        second: all.second + call.second,
      }));
      const parts = calls.reduce((sum, call) => sum + charge(call, rates).nanoUsd, 0);
      const { nanoUsd } = charge(whole, rates);
      assert.ok(parts >= nanoUsd && parts - nanoUsd < calls.length, `${parts} for ${calls.length}, not ${nanoUsd}`);
    }),
  );
});

test("more of anything never costs less", () => {
  const rates = ratesOf({ input: 0.15, cached_input: 0.075, output: 0.6, reasoning: 3, character: "15/1M" });
  fc.assert(
    fc.property(UNITS_USED, fc.constantFrom(...UNITS), fc.nat(1_000), (units, unit, more) => {
      const count = Math.min((units[unit] ?? 0) + more, Number.MAX_SAFE_INTEGER);
      assert.ok(charge({ ...units, [unit]: count }, rates).nanoUsd >= charge(units, rates).nanoUsd);
    }),
  );
});

test("the smallest use of the smallest price costs a nano-dollar, and nothing costs nothing", () => {
  const rates = ratesOf({ input: "0.000000001" });
  assert.equal(charge({ input: 1 }, rates).nanoUsd, 1);
  assert.equal(charge({ input: 1_000_000 }, rates).nanoUsd, 1);
  assert.equal(charge({ input: 1_000_001 }, rates).nanoUsd, 2);
  assert.deepEqual(charge({}, rates), { nanoUsd: 0, unpriced: [] });
  assert.deepEqual(charge({ input: 0 }, rates), { nanoUsd: 0, unpriced: [] });
});

test("a million million of each unit neither overflows nor wraps, and what nobody can pay is capped", () => {
  const cheap = ratesOf({ input: 0.003, output: 0.1 });
  assert.equal(charge({ input: 1e12, output: 1e12 }, cheap).nanoUsd, 103_000 * 1e9);
  const dear = ratesOf({ input: 30, output: 180, image: 1_000_000 });
  assert.equal(charge({ input: 1e12, output: 1e12 }, dear).nanoUsd, Number.MAX_SAFE_INTEGER);
  assert.equal(charge({ image: Number.MAX_SAFE_INTEGER }, dear).nanoUsd, Number.MAX_SAFE_INTEGER);
});

test("a unit without a price costs as its nearest relation, and is unpriced when it has none", () => {
  const rates = ratesOf({ input: 2, output: 10 });
  for (const unit of ["cached_input", "cache_write", "cache_write_1h"] as const) {
    assert.deepEqual(charge({ [unit]: 1_000 }, rates), { nanoUsd: 2_000_000, unpriced: [] }, unit);
  }
  assert.deepEqual(charge({ reasoning: 1_000 }, rates), { nanoUsd: 10_000_000, unpriced: [] });
  assert.equal(charge({ cache_write_1h: 1_000 }, ratesOf({ input: 2, cache_write: 3 })).nanoUsd, 3_000_000);
  const none = ["input_audio", "input_image", "output_audio", "output_image", "image", "character"] as const;
  for (const unit of [...none, "second", "web_search", "tool_call"] as const) {
    assert.deepEqual(charge({ input: 1_000, [unit]: 1 }, rates), { nanoUsd: 2_000_000, unpriced: [unit] }, unit);
  }
  assert.deepEqual(charge({ reasoning: 1 }, ratesOf({ input: 2 })).unpriced, ["reasoning"]);
});

test("requests, bytes and credits cost only what the table says, and are never missing", () => {
  const used: Units = { request: 1, byte: 1_500_000_000, credit: 8 };
  assert.deepEqual(charge(used, ratesOf({ input: 1 })), { nanoUsd: 0, unpriced: [] });
  assert.equal(charge(used, ratesOf({ request: 0.001, byte: "0.09/GB", credit: "5/1k" })).nanoUsd, 176_000_000);
});

test("counts that are no counts are never charged as a credit, and a part of a unit is charged as one", () => {
  const rates = ratesOf({ input: 1_000_000 });
  for (const count of [-5, Number.NaN, Number.NEGATIVE_INFINITY]) {
    assert.deepEqual(charge({ input: count }, rates), { nanoUsd: 0, unpriced: [] }, String(count));
  }
  assert.equal(charge({ input: 0.25 }, rates).nanoUsd, 1e9);
  assert.equal(charge({ input: Number.POSITIVE_INFINITY }, rates).nanoUsd, Number.MAX_SAFE_INTEGER);
  assert.equal(requestLength({ input: 1.5, cached_input: -3, output: 100 }), 2);
});

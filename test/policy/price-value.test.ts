import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { parseInstant, parseNano, parsePrice } from "../../src/policy/price-value.ts";

const NUMBERS: readonly [written: string | number, nano: bigint][] = [
  [2.5, 2_500_000_000n],
  ["2.50", 2_500_000_000n],
  [0, 0n],
  [0.003625, 3_625_000n],
  [0.1, 100_000_000n],
  [1e-9, 1n],
  ["0.000000001", 1n],
  [3e-7, 300n],
  [999_999.999999999, 999_999_999_999_999n],
  ["999999.999999999", 999_999_999_999_999n],
  [1_000_000, 1_000_000_000_000_000n],
];

test("a decimal becomes whole nanos, quoted or not", () => {
  for (const [written, nano] of NUMBERS) assert.equal(parseNano(written, "a price"), nano, String(written));
});

test("every decimal of nine places up to a million is read exactly, as text and as the double that YAML makes of it", () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 1_000_000_000_000_000n), (nano) => {
      const digits = nano.toString().padStart(10, "0");
      const text = `${digits.slice(0, -9)}.${digits.slice(-9)}`;
      assert.equal(parseNano(text, "x"), nano);
      assert.equal(parseNano(Number(text), "x"), nano);
    }),
  );
});

const REFUSED: readonly [written: string | number, problem: RegExp][] = [
  [-1, /^-1 is not a decimal number; write x$/],
  [Number.NaN, /is not a decimal number/],
  [Number.POSITIVE_INFINITY, /is not a decimal number/],
  [1e300, /is not a decimal number/],
  [1_000_000.5, /is more than 1000000/],
  ["1000000.000000001", /is more than 1000000/],
  [0.1234567891, /^0\.1234567891 has more than 9 decimals/],
  ["0.0000000001", /has more than 9 decimals/],
  [1e-10, /has more than 9 decimals/],
  ["1e3", /^"1e3" is not a decimal number; write x$/],
  ["1,50", /is not a decimal number/],
  ["$2", /is not a decimal number/],
  ["", /is not a decimal number/],
  [" 1", /is not a decimal number/],
  [".5", /is not a decimal number/],
  ["5.", /is not a decimal number/],
  ["0x10", /is not a decimal number/],
  ["-0", /is not a decimal number/],
  ["9".repeat(17), /is not a decimal number/],
];

test("what is no decimal, too fine or too large is refused", () => {
  for (const [written, problem] of REFUSED) {
    assert.throws(() => parseNano(written, "x"), { message: problem }, String(written));
  }
});

test("a price is per million tokens, per the quantity it names, or for each", () => {
  assert.deepEqual(parsePrice("input", 2.5), { nano: 2_500_000_000n, quantity: 1_000_000n });
  assert.deepEqual(parsePrice("output", "0.01/1k"), { nano: 10_000_000n, quantity: 1_000n });
  assert.deepEqual(parsePrice("image", 0.04), { nano: 40_000_000n, quantity: 1n });
  assert.deepEqual(parsePrice("web_search", "10/1k"), { nano: 10_000_000_000n, quantity: 1_000n });
  assert.deepEqual(parsePrice("character", "15/1M"), { nano: 15_000_000_000n, quantity: 1_000_000n });
  assert.deepEqual(parsePrice("second", "0.006/min"), { nano: 6_000_000n, quantity: 60n });
  assert.deepEqual(parsePrice("second", "0.111/h"), { nano: 111_000_000n, quantity: 3_600n });
  assert.deepEqual(parsePrice("byte", "0.09/GB"), { nano: 90_000_000n, quantity: 1_000_000_000n });
});

test("a price whose quantity would be guessed is refused", () => {
  assert.throws(() => parsePrice("character", 15), { message: /^15 has no quantity; write .* such as 15\/1M$/ });
  assert.throws(() => parsePrice("second", "0.1"), { message: /has no quantity; .* such as 0\.006\/min$/ });
  assert.throws(() => parsePrice("byte", 1), { message: /has no quantity/ });
  assert.throws(() => parsePrice("input", "2.5/min"), {
    message: '"2.5/min" is per an unknown quantity; write one of /1M, /1k',
  });
  assert.throws(() => parsePrice("second", "1/1k"), { message: /write one of \/s, \/min, \/h$/ });
  assert.throws(() => parsePrice("image", "1/constructor"), { message: /unknown quantity/ });
});

test("a day begins at midnight UTC, and a time is a time", () => {
  assert.equal(parseInstant("2026-08-16"), Date.UTC(2026, 7, 16));
  assert.equal(parseInstant("2026-08-16T16:00Z"), Date.UTC(2026, 7, 16, 16));
  assert.equal(parseInstant("2026-08-16T16:00:01Z"), Date.UTC(2026, 7, 16, 16, 0, 1));
  assert.equal(parseInstant("2026-08-16T16:00:00.001Z"), Date.UTC(2026, 7, 16, 16, 0, 0, 1));
  assert.equal(parseInstant("2024-02-29"), Date.UTC(2024, 1, 29));
});

test("a day that the calendar does not have, and any other form, is refused", () => {
  const wrong = ["2026-02-29", "2026-02-31", "2026-13-01", "2026-00-10", "2026-08-16T24:00Z", "2026-08-16T16:00:60Z"];
  const forms = ["2026-08-16T16:00", "2026-08-16T16:00+02:00", "16.08.2026", "2026-8-16", "today", "", "20260816"];
  for (const text of [...wrong, ...forms]) {
    assert.throws(() => parseInstant(text), { message: /is no time; write 2026-08-16 or/ }, text);
  }
});

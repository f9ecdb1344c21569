import assert from "node:assert/strict";
import test from "node:test";
import { parseTokenAmount, parseUsdAmount } from "../../src/policy/amount.ts";

test("tokens and dollars have a sliding or a calendar period", () => {
  for (const [text, amount, periodMs, calendar] of [
    ["200000/min", 200_000, 60_000, null],
    ["1/15s", 1, 15_000, null],
    ["5000000/d", 5_000_000, 86_400_000, null],
    ["5000000/day", 5_000_000, 86_400_000, "day"],
    ["1000000000000/month", 1e12, 31 * 86_400_000, "month"],
    ["7/week", 7, 7 * 86_400_000, "week"],
  ] as const) {
    assert.deepEqual(parseTokenAmount(text), { amount, periodMs, calendar }, text);
  }
  for (const [text, amount] of [
    ["25/day", 25_000_000_000],
    ["0.5/h", 500_000_000],
    ["0.000000001/s", 1],
    ["12.34/month", 12_340_000_000],
    ["1000000/day", 1e15],
  ] as const) {
    assert.equal(parseUsdAmount(text).amount, amount, text);
  }
});

test("what is no amount is refused with what to write", () => {
  for (const [text, why] of [
    ["25", /write dollars per time/],
    ["25/", /write dollars per time/],
    ["-1/day", /write dollars per time/],
    ["1e3/day", /write dollars per time/],
    ["0.0000000001/day", /write dollars per time/],
    ["$5/day", /write dollars per time/],
    ["0/day", /from 0.000000001 to 1000000/],
    ["1000000.1/day", /from 0.000000001 to 1000000/],
    ["5/31d", /30 days/],
  ] as const) {
    assert.throws(() => parseUsdAmount(text), why, text);
  }
  assert.throws(() => parseTokenAmount("1.5/min"), /tokens are whole/);
  assert.throws(() => parseTokenAmount("0/min"), /from 1 to/);
});

import assert from "node:assert/strict";
import test from "node:test";
import { parseDuration, parseRate } from "../../src/policy/duration.ts";

test("a duration is a whole number with a unit", () => {
  for (const [text, ms] of [
    ["500ms", 500],
    ["2s", 2000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["1d", 86_400_000],
    ["0s", 0],
    ["30d", 2_592_000_000],
  ] as const) {
    assert.equal(parseDuration(text), ms, text);
  }
});

test("a duration that says too little or too much is refused with what to write", () => {
  for (const [text, why] of [
    ["300", /300 has no unit; write 300s or 300ms/],
    ["5min", /write 5m/],
    ["1.5s", /whole number/],
    ["-1s", /whole number/],
    ["01s", /whole number/],
    ["1 s", /whole number/],
    ["1m30s", /whole number/],
    ["", /whole number/],
    ["31d", /30 days/],
    ["999999999d", /30 days/],
    ["9999999999ms", /whole number/],
    ["1constructor", /whole number/],
  ] as const) {
    assert.throws(() => parseDuration(text), why, text);
  }
});

test("a rate is requests per named or numbered period", () => {
  for (const [text, count, periodMs] of [
    ["5/s", 5, 1000],
    ["300/min", 300, 60_000],
    ["1000/h", 1000, 3_600_000],
    ["10000/d", 10_000, 86_400_000],
    ["100/15s", 100, 15_000],
    ["1/5m", 1, 300_000],
    ["100000/s", 100_000, 1000],
  ] as const) {
    assert.deepEqual(parseRate(text), { count, periodMs }, text);
  }
});

test("a rate without or with another unit is refused with what to write", () => {
  for (const [text, why] of [
    ["300", /300 has no unit; write 300\/min/],
    ["300/m", /write 300\/min/],
    ["300/minute", /write 300\/min/],
    ["5/sec", /write 5\/s/],
    ["5/constructor", /requests per period/],
    ["0/s", /requests per period/],
    ["5/0s", /requests per period/],
    ["1.5/s", /requests per period/],
    ["100001/s", /100000/],
    ["5/31d", /30 days/],
    ["", /requests per period/],
  ] as const) {
    assert.throws(() => parseRate(text), why, text);
  }
});

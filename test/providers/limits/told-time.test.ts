import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  goDuration,
  httpDate,
  plainNumber,
  rfc3339,
  TIME_FORMATS,
  toldTime,
  wholeNumber,
} from "../../../src/providers/limits/told-time.ts";

const NOW = Date.UTC(2026, 9, 4, 12, 0, 0);

/** What no reader may take for a number, a time or a span. */
const NONSENSE = [
  "",
  " ",
  "-1",
  "-0.5",
  "+5",
  "1e9",
  "inf",
  "Infinity",
  "NaN",
  "0x10",
  "१२",
  "5 s",
  "12..5",
  ".",
  "99999999999999999999",
  "1".repeat(10_000),
  "soon",
  "null",
  "\u0000",
];

test("numbers are plain decimals of at least 0, and nothing else is a number", () => {
  assert.equal(plainNumber("0"), 0);
  assert.equal(plainNumber(" 42 "), 42);
  assert.equal(plainNumber("1.5"), 1.5);
  assert.equal(wholeNumber("59.9"), 59);
  assert.equal(wholeNumber("100, 100;w=60"), 100);
  assert.equal(wholeNumber("100;w=60"), 100);
  assert.equal(plainNumber(null), null);
  assert.equal(wholeNumber(null), null);
  for (const text of NONSENSE) {
    assert.equal(plainNumber(text), null, text.slice(0, 20));
    assert.equal(wholeNumber(text), null, text.slice(0, 20));
  }
});

test("durations as Go prints them", () => {
  const cases: [string, number][] = [
    ["12ms", 12],
    ["1s", 1_000],
    ["6m0s", 360_000],
    ["1h2m3.5s", 3_723_500],
    ["7.66s", 7_660],
    ["2m59.56s", 179_560],
    ["23h59m", 86_340_000],
    ["500us", 1],
    ["500µs", 1],
    ["0s", 0],
  ];
  for (const [text, ms] of cases) assert.equal(goDuration(text), ms, text);
  for (const text of [...NONSENSE, "5", "1d", "ms", "1h-2m", "1 s", "1.s", `${"1h".repeat(100)}`]) {
    assert.equal(goDuration(text), null, text.slice(0, 20));
  }
});

test("RFC 3339 with zones and fractions; a time in whole seconds is the end of that second", () => {
  assert.equal(rfc3339("2026-05-04T12:34:56Z"), Date.UTC(2026, 4, 4, 12, 34, 56, 999));
  assert.equal(rfc3339("2026-09-27T07:08:00-05:00"), Date.UTC(2026, 8, 27, 12, 8, 0, 999));
  assert.equal(rfc3339("2026-09-27T07:08:00.250Z"), Date.UTC(2026, 8, 27, 7, 8, 0, 250));
  assert.equal(rfc3339("2026-09-27 07:08:00.25z"), Date.UTC(2026, 8, 27, 7, 8, 0, 250));
  for (const text of [
    ...NONSENSE,
    "2026-09-27",
    "2026-13-01T00:00:00Z",
    "2026-09-27T25:00:00Z",
    "2026-09-27T07:08:00",
  ]) {
    assert.equal(rfc3339(text), null, text.slice(0, 20));
  }
});

test("HTTP dates in all three forms of RFC 9110", () => {
  const at = Date.UTC(1994, 10, 6, 8, 49, 37);
  assert.equal(httpDate("Sun, 06 Nov 1994 08:49:37 GMT", NOW), at);
  assert.equal(httpDate("Sunday, 06-Nov-94 08:49:37 GMT", NOW), at);
  assert.equal(httpDate("Sun Nov  6 08:49:37 1994", NOW), at);
  // Two digits are never more than 50 years ahead.
  assert.equal(httpDate("Monday, 05-Oct-26 00:00:00 GMT", NOW), Date.UTC(2026, 9, 5));
  assert.equal(httpDate("Friday, 01-Jan-77 00:00:00 GMT", NOW), Date.UTC(1977, 0, 1));
  assert.equal(httpDate("Friday, 01-Jan-76 00:00:00 GMT", NOW), Date.UTC(2076, 0, 1));
  const wrong = ["Tue, 31 Feb 2026 00:00:00 GMT", "Sun, 06 Nux 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC"];
  for (const text of [...NONSENSE, ...wrong, "2026-05-04T12:34:56Z"]) {
    assert.equal(httpDate(text, NOW), null, text.slice(0, 20));
  }
});

test("without a format a number tells by its size whether it is a span, seconds or milliseconds", () => {
  assert.deepEqual(toldTime("30", null), { inMs: 30_000 });
  assert.deepEqual(toldTime("0.5", null), { inMs: 500 });
  assert.deepEqual(toldTime("1790000000", null), { atMs: 1_790_000_000_999 });
  assert.deepEqual(toldTime("1790000000000", null), { atMs: 1_790_000_000_000 });
  assert.deepEqual(toldTime("6m0s", null), { inMs: 360_000 });
  assert.deepEqual(toldTime("2026-05-04T12:34:56.5Z", null), { atMs: Date.UTC(2026, 4, 4, 12, 34, 56, 500) });
  // Neither a span that anybody waits for nor a date of this century.
  assert.equal(toldTime("500000000", null), null);
});

test("with a format only that is taken", () => {
  assert.deepEqual(toldTime("30", "seconds"), { inMs: 30_000 });
  assert.deepEqual(toldTime("30", "duration"), { inMs: 30_000 });
  assert.deepEqual(toldTime("1790000000", "epoch-seconds"), { atMs: 1_790_000_000_999 });
  assert.deepEqual(toldTime("1790000000000", "epoch-ms"), { atMs: 1_790_000_000_000 });
  assert.equal(toldTime("30", "epoch-seconds"), null);
  assert.equal(toldTime("30", "epoch-ms"), null);
  assert.equal(toldTime("30", "rfc3339"), null);
  assert.equal(toldTime("1790000000", "epoch-ms"), null);
  assert.equal(toldTime("1790000000", "seconds"), null);
  assert.equal(toldTime("1790000000000", "epoch-seconds"), null);
  assert.equal(toldTime("6m0s", "seconds"), null);
  assert.equal(toldTime("2026-05-04T12:34:56Z", "duration"), null);
});

test("no text makes a reader throw or answer anything but a finite number", () => {
  const text = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.stringMatching(/^[0-9a-zµ:.,;+\-TZ ]{0,70}$/),
    fc.constantFrom(...NONSENSE),
  );
  fc.assert(
    fc.property(text, fc.constantFrom(null, ...TIME_FORMATS), (each, format) => {
      for (const read of [plainNumber, wholeNumber, goDuration, rfc3339, (t: string) => httpDate(t, NOW)]) {
        const value = read(each);
        assert.ok(value === null || Number.isFinite(value));
      }
      const told = toldTime(each, format);
      assert.ok(told === null || Number.isFinite("inMs" in told ? told.inMs : told.atMs));
      assert.ok(told === null || !("inMs" in told) || told.inMs >= 0);
    }),
    { numRuns: 2000, seed: 7 },
  );
});

import assert from "node:assert/strict";
import test from "node:test";
import { inHours, parseHours } from "../../src/policy/price-hours.ts";

const at = (text: string): number => Date.parse(text);

test("hours of a range of days begin at their minute and end before theirs", () => {
  const hours = parseHours("mon-fri 01:00-04:00");
  assert.equal(hours.length, 5);
  // 2026-06-01 is a Monday.
  assert.equal(inHours(hours, at("2026-06-01T00:59:59.999Z")), false);
  assert.equal(inHours(hours, at("2026-06-01T01:00:00.000Z")), true);
  assert.equal(inHours(hours, at("2026-06-01T03:59:59.999Z")), true);
  assert.equal(inHours(hours, at("2026-06-01T04:00:00.000Z")), false);
  assert.equal(inHours(hours, at("2026-06-05T02:00Z")), true);
  assert.equal(inHours(hours, at("2026-06-06T02:00Z")), false);
  assert.equal(inHours(hours, at("2026-06-07T02:00Z")), false);
});

test("a day can be whole, and days before the epoch are days as well", () => {
  const sunday = parseHours("sun 00:00-24:00");
  assert.equal(inHours(sunday, at("2026-06-07T00:00Z")), true);
  assert.equal(inHours(sunday, at("2026-06-07T23:59:59.999Z")), true);
  assert.equal(inHours(sunday, at("2026-06-08T00:00Z")), false);
  assert.equal(inHours(sunday, at("1969-12-28T12:00Z")), true);
  assert.equal(inHours(sunday, at("1970-01-01T12:00Z")), false);
});

test("hours that run over midnight or backwards over the week are written in two", () => {
  assert.throws(() => parseHours("mon 22:00-02:00"), { message: /ends before it begins; write two entries/ });
  assert.throws(() => parseHours("mon 22:00-22:00"), { message: /ends before it begins/ });
  assert.throws(() => parseHours("mon 22:00-24:01"), { message: /ends before it begins/ });
  assert.throws(() => parseHours("fri-mon 01:00-02:00"), { message: /earlier day of the week; write two entries/ });
  for (const text of ["monday 01:00-02:00", "mon 1:00-2:00", "mon 01:60-02:00", "mon 25:00-26:00", "01:00-02:00", ""]) {
    assert.throws(() => parseHours(text), { message: /are no hours; write them in UTC/ }, text);
  }
});

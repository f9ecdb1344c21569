import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Calendar, Calendars } from "../../src/policy/calendar.ts";

fc.configureGlobal({ seed: 20260901 });

const MINUTE = 60_000_000;
const HOUR = 60 * MINUTE;

const us = (iso: string): number => Date.parse(iso) * 1000;
const iso = (time: number): string => new Date(time / 1000).toISOString().replace(":00.000Z", "Z");

/** Beginnings of the periods from the one that `from` is in. */
function beginnings(unit: "day" | "week" | "month", zone: string, from: string, count: number): string[] {
  const calendar = new Calendar(unit, zone);
  const found: string[] = [];
  let at = us(from);
  while (found.length < count) {
    const { startUs, endUs } = calendar.periodAt(at);
    found.push(iso(startUs));
    at = endUs;
  }
  return found;
}

/** zone, moment, period of that moment in UTC, hours */
const DAYS: readonly [what: string, zone: string, at: string, start: string, end: string, hours: number][] = [
  ["an ordinary day", "UTC", "2026-03-01T12:00Z", "2026-03-01T00:00Z", "2026-03-02T00:00Z", 24],
  ["the clock goes forward", "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z", 23],
  ["the clock goes back", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z", 25],
  ["an hour that comes twice", "Europe/Berlin", "2026-10-25T01:30Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z", 25],
  ["half an hour", "Australia/Lord_Howe", "2026-04-04T20:00Z", "2026-04-04T13:00Z", "2026-04-05T13:30Z", 24.5],
  ["quarters", "Asia/Kathmandu", "2026-01-01T00:00Z", "2025-12-31T18:15Z", "2026-01-01T18:15Z", 24],
  ["midnight is skipped", "America/Sao_Paulo", "2018-11-04T12:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z", 23],
  ["the day before that", "America/Sao_Paulo", "2018-11-04T02:59Z", "2018-11-03T03:00Z", "2018-11-04T03:00Z", 24],
  [
    "midnight goes back to 23:00",
    "America/Sao_Paulo",
    "2019-02-17T02:30Z",
    "2019-02-16T02:00Z",
    "2019-02-17T03:00Z",
    25,
  ],
  ["midnight is skipped, Beirut", "Asia/Beirut", "2026-03-29T12:00Z", "2026-03-28T22:00Z", "2026-03-29T21:00Z", 23],
  ["00:01 goes back to 23:01", "America/St_Johns", "2010-11-07T02:45Z", "2010-11-07T02:30Z", "2010-11-08T03:30Z", 25],
  ["the day before that", "America/St_Johns", "2010-11-07T02:29Z", "2010-11-06T02:30Z", "2010-11-07T02:30Z", 24],
  ["a day that is left out", "Pacific/Apia", "2011-12-30T09:59Z", "2011-12-29T10:00Z", "2011-12-30T10:00Z", 24],
  ["the day after it", "Pacific/Apia", "2011-12-30T10:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z", 24],
  ["far ahead", "Pacific/Kiritimati", "2026-01-01T09:59Z", "2025-12-31T10:00Z", "2026-01-01T10:00Z", 24],
  ["far behind", "Etc/GMT+12", "2026-01-01T11:59Z", "2025-12-31T12:00Z", "2026-01-01T12:00Z", 24],
];

test("a day is what the zone's clocks and calendar make of it", async (t) => {
  for (const [what, zone, at, start, end, hours] of DAYS) {
    await t.test(`${what}: ${zone} ${at}`, () => {
      const period = new Calendar("day", zone).periodAt(us(at));
      assert.deepEqual([iso(period.startUs), iso(period.endUs)], [start, end]);
      assert.equal((period.endUs - period.startUs) / HOUR, hours);
    });
  }
});

test("a week begins on Monday, a month on its first", () => {
  assert.deepEqual(beginnings("week", "UTC", "2026-01-01T00:00Z", 3), [
    "2025-12-29T00:00Z",
    "2026-01-05T00:00Z",
    "2026-01-12T00:00Z",
  ]);
  assert.deepEqual(beginnings("week", "America/New_York", "2026-03-08T12:00Z", 2), [
    "2026-03-02T05:00Z",
    "2026-03-09T04:00Z",
  ]);
  assert.deepEqual(beginnings("month", "Europe/Berlin", "2026-01-31T23:30Z", 3), [
    "2026-01-31T23:00Z",
    "2026-02-28T23:00Z",
    "2026-03-31T22:00Z",
  ]);
  assert.deepEqual(beginnings("month", "UTC", "2027-12-05T00:00Z", 4), [
    "2027-12-01T00:00Z",
    "2028-01-01T00:00Z",
    "2028-02-01T00:00Z",
    "2028-03-01T00:00Z",
  ]);
});

test("the last microsecond of a period is in it, the next one is not", () => {
  const calendar = new Calendar("day", "Europe/Berlin");
  const { startUs, endUs } = calendar.periodAt(us("2026-10-25T12:00Z"));
  assert.equal(calendar.periodAt(endUs - 1).startUs, startUs);
  assert.equal(calendar.periodAt(endUs).startUs, endUs);
  assert.equal(calendar.periodAt(startUs).endUs, endUs);
  assert.equal(calendar.periodAt(startUs - 1).endUs, startUs);
});

const ZONES = [
  "UTC",
  "Europe/Berlin",
  "Europe/Dublin",
  "America/New_York",
  "America/St_Johns",
  "America/Sao_Paulo",
  "America/Scoresbysund",
  "Africa/Cairo",
  "Africa/Casablanca",
  "Asia/Tehran",
  "Asia/Gaza",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "Pacific/Chatham",
  "Antarctica/Troll",
];

test("periods follow each other without gap or overlap, in every zone", () => {
  for (const zone of ZONES) {
    for (const unit of ["day", "week", "month"] as const) {
      const walking = new Calendar(unit, zone);
      let at = us(unit === "day" ? "2018-10-01T12:00Z" : "2009-12-31T12:00Z");
      while (at < us(unit === "day" ? "2021-01-01T00:00Z" : "2027-06-01T00:00Z")) {
        const { startUs, endUs } = walking.periodAt(at);
        assert.ok(startUs <= at && at < endUs, `${zone} ${unit} ${iso(at)}`);
        // A fresh calendar, which has no period to go on from, agrees in the last and in the next microsecond.
        if (endUs - startUs !== 24 * HOUR && (unit === "day" || endUs > us("2026-01-01T00:00Z"))) {
          const jumping = new Calendar(unit, zone);
          assert.deepEqual(jumping.periodAt(endUs - 1), { startUs, endUs }, `${zone} ${unit} ${iso(endUs)}`);
          assert.equal(jumping.periodAt(endUs).startUs, endUs);
        }
        at = endUs;
      }
    }
  }
});

test("the period is the one whose date the zone shows, found by looking at every quarter of an hour", () => {
  const days = fc.integer({ min: 0, max: 6000 });
  fc.assert(
    fc.property(fc.constantFrom(...ZONES), days, (zone, offset) => {
      const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short" });
      const from = us("2010-01-01T00:00Z") + offset * 24 * HOUR;
      const calendar = new Calendar("day", zone);
      let latest = "";
      let begin = 0;
      for (let at = from; at < from + 60 * HOUR; at += 15 * MINUTE) {
        const date = shown.format(at / 1000);
        // A date that comes once more after the clock went back does not begin a period.
        if (date > latest) {
          if (latest !== "") begin = at;
          latest = date;
        }
        if (begin !== 0) assert.equal(calendar.periodAt(at).startUs, begin, `${zone} ${iso(at)}`);
      }
    }),
    { numRuns: 300 },
  );
});

test("many calendars are used side by side, more than are kept", () => {
  const calendars = new Calendars();
  const at = us("2026-06-15T12:00Z");
  const zones = Array.from({ length: 24 }, (_, n) => `Etc/GMT${n < 12 ? `-${n + 1}` : `+${Math.min(12, n - 11)}`}`);
  for (let round = 0; round < 3; round++) {
    for (const zone of zones) {
      for (const unit of ["day", "week", "month"] as const) {
        assert.deepEqual(calendars.periodAt({ unit, zone }, at), new Calendar(unit, zone).periodAt(at));
      }
    }
  }
  assert.throws(() => calendars.periodAt({ unit: "day", zone: "Mars/Olympus" }, at), RangeError);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { CliError, EXIT } from "../../src/cli/failure.ts";
import { parseMoment, timeRange } from "../../src/cli/time-range.ts";

const NOW_MS = Date.UTC(2026, 0, 15, 12, 30);
const DAY_MS = 86_400_000;

test("a moment is a span back from now, a time, or an edge of a UTC day", () => {
  const start = (text: string) => parseMoment(text, NOW_MS, "start");
  const end = (text: string) => parseMoment(text, NOW_MS, "end");
  assert.deepEqual([start("24h"), end("24h")], [NOW_MS - DAY_MS, NOW_MS - DAY_MS]);
  assert.deepEqual([start("2026-01-10"), end("2026-01-10")], [Date.UTC(2026, 0, 10), Date.UTC(2026, 0, 11)]);
  const time = Date.UTC(2026, 0, 10, 8);
  assert.deepEqual([start("2026-01-10T10:00+02:00"), end("2026-01-10T08:00Z")], [time, time]);
  for (const wrong of ["2026-02-30", "yesterday", "", "-1h", "24"]) assert.equal(start(wrong), null, wrong);
});

test("a range without an end goes to now; one that is none says which option is wrong", () => {
  assert.deepEqual(timeRange({ since: "1h" }, NOW_MS), { sinceMs: NOW_MS - 3_600_000, untilMs: NOW_MS });
  const day = { sinceMs: Date.UTC(2026, 0, 10), untilMs: Date.UTC(2026, 0, 11) };
  assert.deepEqual(timeRange({ since: "2026-01-10", until: "2026-01-10" }, NOW_MS), day);
  const wrong: [{ since: string; until?: string }, RegExp][] = [
    [{ since: "x" }, /--since takes/],
    [{ since: "1h", until: "x" }, /--until takes/],
    [{ since: "1h", until: "2h" }, /--until is not after --since/],
    [{ since: "2027-01-01" }, /--until is not after --since/],
  ];
  for (const [options, says] of wrong) {
    const refused = (error: unknown) =>
      error instanceof CliError && error.exitCode === EXIT.usage && says.test(error.message);
    assert.throws(() => timeRange(options, NOW_MS), refused);
  }
});

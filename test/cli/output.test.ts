import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import {
  formatBytes,
  formatSpan,
  formatTime,
  jsonText,
  parseExpiry,
  parseSpan,
  problemLine,
  renderFacts,
  renderTable,
  shortPath,
  visible,
} from "../../src/cli/output.ts";

const NOW_MS = Date.UTC(2026, 0, 15, 12);

describe("output", () => {
  test("a table is aligned and cannot be broken by a cell", () => {
    assert.equal(
      renderTable(
        ["name", "state"],
        [
          ["a", "on"],
          ["longer", "o\nff\u001b[31m"],
        ],
      ),
      ["NAME    STATE", "a       on", "longer  o\\nff\\x1b[31m"].join("\n"),
    );
    assert.equal(
      renderFacts([
        ["a", "1"],
        ["long", "2\t3"],
      ]),
      "a     1\nlong  2\\t3",
    );
  });

  test("control characters and direction marks become visible, newline and tab stay", () => {
    assert.equal(
      visible("a\u001b]0;x\u0007\u009b\u202eb\u2028\n\tc\u00e4"),
      "a\\x1b]0;x\\x07\\x9b\\u202eb\\u2028\n\tc\u00e4",
    );
    const value = { text: "\u009b\u202e\u001b\u007f" };
    assert.deepEqual(JSON.parse(jsonText(value, 0)), value);
    assert.match(jsonText(value, 2), /^[\x20-\x7e\n]*$/);
  });

  test("spans, sizes and times are short", () => {
    assert.deepEqual([0, 59_999, 60_000, 3_599_999, 86_399_999, 864e5].map(formatSpan), [
      "0s",
      "59s",
      "1m",
      "59m",
      "23h",
      "1d",
    ]);
    assert.deepEqual([0, 1023, 1536, 5 * 1024 ** 3].map(formatBytes), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    assert.deepEqual([formatTime(NOW_MS), formatTime(null)], ["2026-01-15T12:00:00Z", "-"]);
  });

  test("an expiry is a span from now or a date that exists, to the end of its day", () => {
    assert.equal(parseExpiry("90d", NOW_MS), NOW_MS + 90 * 864e5);
    assert.equal(formatTime(parseExpiry("2026-02-28", NOW_MS)), "2026-02-28T23:59:59Z");
    assert.equal(formatTime(parseExpiry("2026-02-28T10:00+02:00", NOW_MS)), "2026-02-28T08:00:00Z");
    for (const wrong of ["2026-02-30", "2026-13-01", "tomorrow", "90", "-1d", "0d", "1.5d", "2026-02-28 10:00", ""]) {
      assert.equal(parseExpiry(wrong, NOW_MS), null, wrong);
    }
    assert.equal(parseSpan("30m"), 1_800_000);
    assert.equal(parseSpan("30"), null);
  });

  test("a file is named from where the command runs, and a problem so that editors jump to it", () => {
    assert.equal(shortPath(join(process.cwd(), "config", "policy.yaml")), join("config", "policy.yaml"));
    assert.equal(shortPath("/etc/sidekey/policy.yaml"), "/etc/sidekey/policy.yaml");
    const problem = { line: 14, column: 9, path: "routes.fmp", message: "is wrong" };
    assert.equal(problemLine("a.yaml", problem), "a.yaml:14:9 routes.fmp: is wrong");
    assert.equal(problemLine("a.yaml", { ...problem, path: "" }), "a.yaml:14:9: is wrong");
  });
});

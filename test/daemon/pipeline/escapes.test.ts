import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Escape,
  EscapeStarts,
  INTRODUCERS,
  LONGEST_ESCAPE,
  readEscape,
  UNFINISHED,
} from "../../../src/daemon/pipeline/escapes.ts";

function read(text: string): { byte: number; size: number } {
  const found: Escape = { byte: 0, size: 0 };
  const byte = readEscape(Buffer.from(text, "latin1"), 0, found);
  return { byte, size: byte < 0 ? 0 : found.size };
}

const SPELLINGS: readonly string[] = [
  "%2f",
  "%2F",
  "\\/",
  "\\u002f",
  "\\u002F",
  "\\x2f",
  "&#47;",
  "&#0047;",
  "&#x2f;",
  "&#X2F;",
  "&#x00002f;",
  "&sol;",
];

test("a slash is read in each of its spellings, and only as long as it is", () => {
  for (const text of SPELLINGS) {
    assert.deepEqual(read(text), { byte: 0x2f, size: text.length }, text);
    assert.deepEqual(read(`${text}more`), { byte: 0x2f, size: text.length }, text);
    assert.ok(text.length <= LONGEST_ESCAPE, text);
  }
});

test("a spelling that is cut anywhere may still become one", () => {
  for (const text of SPELLINGS) {
    for (let length = 1; length < text.length; length++) {
      assert.equal(read(text.slice(0, length)).byte, UNFINISHED, `${text.slice(0, length)} of ${text}`);
    }
  }
});

test("what is no escape of one byte below 0x80 is none", () => {
  for (const text of [
    "a",
    "%zz",
    "%ff",
    "\\n.",
    "\\u00ff",
    "\\u12f4",
    "\\uzzzz",
    "&#;",
    "&#x;",
    "&#255;",
    "&copy;",
    "&#12x;",
    "&&",
    "&#00000000047;",
  ]) {
    const { byte } = read(`${text}          `);
    assert.ok(byte < 0 && byte !== UNFINISHED, text);
  }
});

/** The two bytes with which an escape of `text` may begin. */
function beginnings(text: string): string[] {
  const starts = new EscapeStarts(new Set(Buffer.from(text)));
  const pairs = INTRODUCERS.flatMap((introducer) => Array.from({ length: 128 }, (_, byte) => [introducer, byte]));
  return pairs
    .filter((pair) => starts.in(Buffer.from(pair)).next(0, 2) === 0)
    .map((pair) => Buffer.from(pair).toString("latin1"));
}

test("every escape of a wanted byte begins as one of them does, and few others do", () => {
  for (const text of SPELLINGS) assert.ok(beginnings("/").includes(text.slice(0, 2)), text);
  assert.deepEqual(beginnings("a"), ["%6", "&#", "\\u", "\\x"]);
});

test("starts are found one after the other, between the places that are asked for, and not where data ends", () => {
  const starts = new EscapeStarts(new Set(Buffer.from("a"))).in(Buffer.from("%61 %41%62&#97;x%", "latin1"));
  const found: number[] = [];
  for (let at = starts.next(0, 13); at !== -1; at = starts.next(at + 1, 13)) found.push(at);
  assert.deepEqual(found, [0, 7, 10]);
  assert.equal(starts.next(11, 17), -1);
});

test("once wiped, nothing tells what was wanted", () => {
  const starts = new EscapeStarts(new Set(Buffer.from("a")));
  starts.wipe();
  assert.equal(starts.in(Buffer.from("%61")).next(0, 3), -1);
});

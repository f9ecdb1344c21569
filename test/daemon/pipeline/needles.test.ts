import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Needles } from "../../../src/daemon/pipeline/needles.ts";
import { formsOf } from "../../../src/daemon/pipeline/secret-forms.ts";

const KEY = "sk-Zq9/+=&\"\\<'0aB4";
const needlesFor = (...keys: string[]): Needles =>
  new Needles(keys.flatMap((key) => formsOf(Buffer.from(key, "latin1"))));

function found(needles: Needles, text: string): [number, number][] | null {
  return needles.search(Buffer.from(text, "latin1"))?.map(({ start, end }) => [start, end]) ?? null;
}

/** Small alphabets make near misses and overlaps frequent. */
const sequences = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 4, maxLength: 9 }), {
  minLength: 1,
  maxLength: 6,
});
const haystack = fc.string({ unit: fc.constantFrom("a", "b", "c", "d"), maxLength: 60 });

/** From left to right, at each place the longest. */
function bruteForce(all: readonly string[], text: string): [number, number][] {
  const matches: [number, number][] = [];
  for (let at = 0; at < text.length; ) {
    const longest = Math.max(0, ...all.filter((each) => text.startsWith(each, at)).map(({ length }) => length));
    if (longest > 0) matches.push([at, at + longest]);
    at += Math.max(1, longest);
  }
  return matches;
}

test("finds what a search at every place finds", () => {
  fc.assert(
    fc.property(sequences, haystack, (all, text) => {
      const forms = [...new Set(all)].map((each) => ({ bytes: Buffer.from(each), escapable: false }));
      assert.deepEqual(found(new Needles(forms), text) ?? [], bruteForce(all, text));
    }),
    { numRuns: 2000 },
  );
});

test("the tail is the earliest place from which a longer text could be a match", () => {
  fc.assert(
    fc.property(sequences, haystack, (all, text) => {
      const needles = new Needles([...new Set(all)].map((each) => ({ bytes: Buffer.from(each), escapable: false })));
      let expected = text.length;
      for (let at = text.length - 1; at >= 0; at--) {
        const rest = text.slice(at);
        if (all.some((each) => each.length > rest.length && each.startsWith(rest))) expected = at;
      }
      assert.equal(needles.tail(Buffer.from(text)), expected);
    }),
    { numRuns: 2000 },
  );
});

test("a match is found at every place of every alignment, alone and several at once", () => {
  const needles = needlesFor(KEY);
  for (let before = 0; before < 70; before++) {
    const start = before;
    assert.deepEqual(found(needles, `${"x".repeat(before)}${KEY}`), [[start, start + KEY.length]]);
    const two = `${"x".repeat(before)}${KEY}${KEY}y`;
    assert.deepEqual(found(needles, two), [
      [start, start + KEY.length],
      [start + KEY.length, start + 2 * KEY.length],
    ]);
  }
});

test("an escaped match is found wherever it stands in long data, whatever is around it", () => {
  const needles = needlesFor("sk-Zq9-0123456789");
  const escaped = "\\u0073k-Zq9%2d012345678&#57;";
  // Without introducers, with them far apart and everywhere, in one run of bytes that keys have, and in many short ones.
  const around = [" ", "k", "%", '\\"', "k9 ", "\u0001\u0002k%", `${" ".repeat(3000)}&${"k".repeat(700)}`];
  for (const unit of around) {
    const text = unit.repeat(Math.ceil(6000 / unit.length)).slice(0, 6000);
    for (let at = 0; at < text.length; at += 41) {
      const data = Buffer.from(`${text.slice(0, at)}.${escaped}.${text.slice(at)}`, "latin1");
      assert.deepEqual(needles.search(data), [{ start: at + 1, end: at + 1 + escaped.length }], `${unit} ${at}`);
    }
  }
});

test("the keys of a credential with several fields are searched together", () => {
  const needles = needlesFor("PKABCDEFGHIJKLMNOP", "0123456789abcdefghijklmnopqrstuvwxyzABCD");
  assert.deepEqual(found(needles, "id=PKABCDEFGHIJKLMNOP&secret=0123456789abcdefghijklmnopqrstuvwxyzABCD!"), [
    [3, 21],
    [29, 69],
  ]);
});

test("hostile text costs no more than a few looks at each byte", () => {
  const needles = needlesFor("aaaaaaaaaaaaaaaaaaab");
  const data = Buffer.from("%61a".repeat(16_384));
  assert.equal(needles.search(data), null);
  assert.ok(needles.tail(data) >= data.length - needles.longest);
});

test("without anything to search for nothing is found and nothing held", () => {
  const needles = new Needles([]);
  assert.equal(needles.search(Buffer.from("anything")), null);
  assert.equal(needles.tail(Buffer.from("anything")), 8);
});

test("once wiped, it searches no more instead of finding nothing, and keeps nothing of the keys", () => {
  const forms = formsOf(Buffer.from(KEY));
  const needles = new Needles(forms);
  needles.wipe();
  assert.throws(() => needles.search(Buffer.from(KEY)), /wiped/);
  for (const { bytes } of forms) assert.ok(bytes.every((byte) => byte === 0));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Needles } from "../../../src/daemon/pipeline/needles.ts";
import { replacementFor, Scrubber, scrubWhole } from "../../../src/daemon/pipeline/scrub.ts";
import { formsOf } from "../../../src/daemon/pipeline/secret-forms.ts";
import { findCanary, makeCanary } from "../../support/canary.ts";

const REPLACEMENT = "[sidekey:fmp-main]";
const printable = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
const anyKey = fc.string({ unit: printable, minLength: 8, maxLength: 40 });
/** None of these can be a part of an escape or of base64 of the key by chance. */
const filler = fc.string({ unit: fc.constantFrom(" ", "\n", "{", "}", "é", "\u0001"), maxLength: 30 });

function scrubberFor(keys: readonly string[], sameLength = false): Scrubber {
  const needles = new Needles(keys.flatMap((key) => formsOf(Buffer.from(key, "latin1"))));
  return new Scrubber({ needles, replacement: replacementFor("fmp-main"), sameLength });
}

/** What comes out when `text` arrives in pieces that end at `cuts`. */
function scrubbed(scrubber: Scrubber, text: string, cuts: readonly number[]): string {
  const bytes = Buffer.from(text, "latin1");
  const out: Buffer[] = [];
  let from = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    if (cut <= from || cut >= bytes.length) continue;
    out.push(...scrubber.push(Buffer.from(bytes.subarray(from, cut)), false).map((piece) => Buffer.from(piece)));
    from = cut;
  }
  out.push(...scrubber.push(Buffer.from(bytes.subarray(from)), false).map((piece) => Buffer.from(piece)));
  out.push(...scrubber.end());
  return Buffer.concat(out).toString("latin1");
}

type Spell = (character: string) => string;
const hex = (character: string): string => character.charCodeAt(0).toString(16).padStart(2, "0");
const SPELLS: readonly Spell[] = [
  (c) => c,
  (c) => `%${hex(c)}`,
  (c) => `%${hex(c).toUpperCase()}`,
  (c) => `\\u00${hex(c)}`,
  (c) => `\\u00${hex(c).toUpperCase()}`,
  (c) => `\\x${hex(c)}`,
  (c) => `&#${c.charCodeAt(0)};`,
  (c) => `&#x${hex(c)};`,
  (c) => (/["'`/\\]/.test(c) ? `\\${c}` : c),
  (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c] ?? c,
];

test("a key is found however its characters are escaped, one by one, and however it is cut", () => {
  fc.assert(
    fc.property(
      anyKey,
      fc.array(fc.nat(SPELLS.length - 1), { minLength: 40, maxLength: 40 }),
      filler,
      filler,
      fc.array(fc.nat(400), { maxLength: 5 }),
      (key, spells, before, after, cuts) => {
        // A raw % or & before a spelled character reads as an escape of its own; such keys are found raw.
        const plain = key.replace(/[%&\\]/g, "x");
        const spelled = [...plain].map((c, at) => (SPELLS[spells[at] ?? 0] ?? ((each) => each))(c)).join("");
        const out = scrubbed(scrubberFor([plain]), `${before}${spelled}${after}`, cuts);
        assert.equal(out, `${before}${REPLACEMENT}${after}`);
      },
    ),
    { numRuns: 1500 },
  );
});

test("every form of a key with special characters is taken out, cut at every byte", () => {
  const canary = makeCanary({ special: true });
  const raw = canary.text;
  const utf8 = Buffer.from(raw);
  const forms: readonly string[] = [
    raw,
    encodeURIComponent(raw),
    encodeURIComponent(raw).replace(/%../g, (each) => each.toLowerCase()),
    new URLSearchParams([["k", raw]]).toString().slice(2),
    [...utf8].map((byte) => `%${byte.toString(16)}`).join(""),
    JSON.stringify(raw).slice(1, -1),
    JSON.stringify(raw).slice(1, -1).replaceAll("/", "\\/"),
    [...raw].map((c) => SPELLS[9]?.(c)).join(""),
    utf8.toString("hex"),
    utf8.toString("hex").toUpperCase(),
    ...["", "u:", "us:", "use:"].flatMap((user) => {
      const pair = Buffer.from(`${user}${raw}`);
      return [pair.toString("base64"), pair.toString("base64url"), encodeURIComponent(pair.toString("base64"))];
    }),
    JSON.stringify(Buffer.from(`x${raw}y`).toString("base64")).replaceAll("/", "\\/"),
    Buffer.from(raw, "utf16le").toString("latin1"),
  ];
  for (const form of forms) {
    const text = `{"a":"${form}"}\n`;
    for (let cut = 0; cut <= text.length; cut++) {
      const scrubber = scrubberFor([raw]);
      const out = scrubbed(scrubber, text, [cut]);
      assert.deepEqual(findCanary([Buffer.from(out, "latin1")], canary), [], `${form} cut at ${cut}`);
      assert.ok(out.includes(REPLACEMENT) && out.endsWith('"}\n'), `${form} cut at ${cut}: ${out}`);
      assert.equal(scrubber.count, 1);
    }
    const bytewise = scrubbed(
      scrubberFor([raw]),
      text,
      Array.from(text, (_, at) => at),
    );
    assert.equal(bytewise, scrubbed(scrubberFor([raw]), text, []));
  }
});

test("bytes without a key pass as they are, whatever they are and however they are cut", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      anyKey,
      fc.array(fc.nat(300), { maxLength: 6 }),
      (bytes, key, cuts) => {
        const text = Buffer.from(bytes).toString("latin1");
        fc.pre(!text.includes(key));
        const scrubber = scrubberFor([key]);
        const out = scrubbed(scrubber, text, cuts);
        if (scrubber.count === 0) assert.equal(out, text);
      },
    ),
    { numRuns: 1000 },
  );
});

test("an event leaves whole in the call that brings it, though it ends like a key begins", () => {
  const scrubber = scrubberFor(["sk-live-0123456789"]);
  const event = 'data: {"text":"sk-live-01"}\n\n';
  assert.equal(Buffer.concat(scrubber.push(Buffer.from(event), false)).toString(), event);
  assert.equal(Buffer.concat(scrubber.push(Buffer.from("data: sk-li"), false)).toString(), "data: ");
  assert.equal(Buffer.concat(scrubber.push(Buffer.from("ve\n\n"), false)).toString(), "sk-live\n\n");
  assert.deepEqual(scrubber.end(), []);
});

test("nothing is held back when nothing more can come, and what was held comes at the end", () => {
  const one = scrubberFor(["sk-live-0123456789"]);
  assert.equal(Buffer.concat(one.push(Buffer.from("sk-live-01"), true)).toString(), "sk-live-01");
  const other = scrubberFor(["sk-live-0123456789"]);
  assert.deepEqual(other.push(Buffer.from("sk-live-01"), false), []);
  assert.equal(Buffer.concat(other.end()).toString(), "sk-live-01");
});

test("in binary data the replacement is as long as what it replaces", () => {
  for (const key of ["eight888", "k".repeat(18), "long-key-0123456789-0123456789"]) {
    const text = `\x00\x01${key}\xff`;
    const out = scrubbed(scrubberFor([key], true), text, [4]);
    assert.equal(out.length, text.length);
    assert.equal(out.slice(2, -1), REPLACEMENT.slice(0, key.length).padEnd(key.length, "*"));
  }
});

test("the bytes of a key that was found are overwritten where they came in", () => {
  const chunk = Buffer.from("x sk-live-0123456789 y");
  scrubberFor(["sk-live-0123456789"]).push(chunk, true);
  assert.equal(chunk.toString(), "x ****************** y");
});

test("a whole value is scrubbed at once, or said to be clean", () => {
  const needles = new Needles(formsOf(Buffer.from("sk-live-0123456789")));
  const scrub = (text: string) => scrubWhole(Buffer.from(text), needles, replacementFor("m"))?.toString() ?? null;
  assert.equal(scrub("https://h/?key=sk-live-0123456789"), "https://h/?key=[sidekey:m]");
  assert.equal(scrub("https://h/?key=sk-live-012345678"), null);
});

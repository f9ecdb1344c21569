import assert from "node:assert/strict";
import { before, test } from "node:test";
import fc from "fast-check";
import { Secret } from "../../../src/secret.ts";
import { ready } from "../../../src/store/crypto.ts";
import { UnlockError } from "../../../src/store/errors.ts";
import {
  countWords,
  cutShares,
  parseShare,
  SHARE_WORDS,
  shareCommitment,
  shareInWords,
} from "../../../src/store/wrappers/share-words.ts";
import { WORDS } from "../../../src/store/wrappers/word-list.ts";

const share = fc.record({
  set: fc.stringMatching(/^[0-9a-f]{8}$/),
  threshold: fc.integer({ min: 2, max: 255 }),
  number: fc.integer({ min: 1, max: 255 }),
  value: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Secret.copyOf(bytes)),
});

const textOf = (words: Secret): string => words.use((bytes) => bytes.toString());
const parse = (text: string) => parseShare(Buffer.from(text), "the share");
const isBad = (words: RegExp) => (error: unknown) =>
  error instanceof UnlockError && error.code === "bad_share" && words.test(error.message);

before(ready);

test("the list has 256 words that a slip of the pen does not turn into each other", () => {
  assert.equal(new Set(WORDS).size, 256);
  assert.equal(new Set(WORDS.map((word) => word.slice(0, 4))).size, 256);
  for (const word of WORDS) assert.match(word, /^[a-z]{4,8}$/);
  for (const [index, word] of WORDS.entries()) {
    for (const other of WORDS.slice(index + 1)) {
      const differences = [...word].filter((letter, at) => letter !== other[at]).length;
      assert.ok(word.length !== other.length || differences > 1, `${word} and ${other}`);
    }
  }
});

test("a share comes back from its words in any case, with any space, line breaks and numbers between them", () => {
  fc.assert(
    fc.property(share, fc.constantFrom(" ", "\n", "  \t ", ", ", " 7. "), fc.boolean(), (given, between, upper) => {
      const words = textOf(shareInWords(given)).trim().split(/\s+/);
      assert.equal(words.length, SHARE_WORDS);
      const typed = ` ${words.map((word) => (upper ? word.toUpperCase() : word)).join(between)}\n`;
      const { value, ...rest } = parse(typed);
      const { value: original, ...expected } = given;
      assert.deepEqual(rest, expected);
      assert.ok(value.use((a) => original.use((b) => a.equals(b))));
    }),
    { numRuns: 50 },
  );
});

test("any one wrong word, and any two swapped words, are noticed", () => {
  fc.assert(
    fc.property(share, fc.nat(SHARE_WORDS - 1), fc.integer({ min: 1, max: 255 }), (given, at, shift) => {
      const words = textOf(shareInWords(given)).trim().split(/\s+/);
      const wrong = [...words];
      wrong[at] = WORDS[(WORDS.indexOf(words[at] ?? "") + shift) % 256] ?? "";
      assert.throws(() => parse(wrong.join(" ")), isBad(/checksum is wrong/));
      const swapped = [...words];
      [swapped[at], swapped[(at + 1) % SHARE_WORDS]] = [words[(at + 1) % SHARE_WORDS] ?? "", words[at] ?? ""];
      if (swapped.join() !== words.join()) assert.throws(() => parse(swapped.join(" ")), isBad(/checksum is wrong/));
    }),
    { numRuns: 50 },
  );
});

test("an unknown word is named by its place and never repeated", () => {
  const [given] = fc.sample(share, 1);
  const words = textOf(shareInWords(given ?? assert.fail()))
    .trim()
    .split(/\s+/);
  words[6] = "canary";
  assert.throws(() => parse(words.join(" ")), isBad(/^the share: word 7 is not in the list/));
  assert.throws(
    () => parse(words.join(" ")),
    (error: Error) => !error.message.includes("canary"),
  );
  assert.throws(() => parse(words.slice(1).join(" ")), isBad(/has 41 words, not 42/));
  assert.throws(() => parse(""), isBad(/has 0 words/));
});

test("text with several shares is cut into shares, whatever its lines are", () => {
  const given = fc.sample(share, 3);
  const text = given.map((one) => textOf(shareInWords(one)).replaceAll("\n", " ")).join("");
  assert.equal(countWords(Buffer.from(text)), 3 * SHARE_WORDS);
  const cut = cutShares(Buffer.from(text)).map(
    (one) =>
      parseShare(
        one.use((bytes) => bytes),
        "it",
      ).number,
  );
  assert.deepEqual(
    cut,
    given.map(({ number }) => number),
  );
  assert.deepEqual(cutShares(Buffer.from(" \n")), []);
});

test("the commitment is another one for every part of a share", () => {
  const [given] = fc.sample(share, 1);
  const one = given ?? assert.fail();
  const value = Secret.copyOf(one.value.use((bytes) => bytes.map((byte, at) => (at === 31 ? byte ^ 1 : byte))));
  const others = [
    { ...one, value },
    { ...one, number: one.number ^ 1 },
    { ...one, threshold: one.threshold ^ 1 },
    { ...one, set: one.set === "00000000" ? "00000001" : "00000000" },
  ];
  assert.equal(new Set([one, ...others].map(shareCommitment)).size, 5);
});

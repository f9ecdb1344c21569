import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { fingerprint } from "../../src/policy/fingerprint.ts";

test("a fingerprint is twelve hex digits and the same every time", () => {
  for (const text of ["", "a", "prices", "\u{1f600}".repeat(1000)]) {
    assert.match(fingerprint(text), /^[0-9a-f]{12}$/);
    assert.equal(fingerprint(text), fingerprint(text));
  }
});

test("any one character that changes, comes or goes changes the fingerprint", () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 200 }),
      fc.nat(),
      fc.string({ minLength: 1, maxLength: 1 }),
      (text, at, c) => {
        const index = at % text.length;
        const changed = text.slice(0, index) + c + text.slice(index + 1);
        if (changed !== text) assert.notEqual(fingerprint(changed), fingerprint(text));
        assert.notEqual(fingerprint(text.slice(0, index) + c + text.slice(index)), fingerprint(text));
        assert.notEqual(fingerprint(text.slice(0, index) + text.slice(index + 1)), fingerprint(text));
      },
    ),
  );
});

test("ten thousand similar texts have as many fingerprints", () => {
  const texts = Array.from({ length: 10_000 }, (_, n) => `input: ${(n / 1000).toFixed(3)}\n`);
  assert.equal(new Set(texts.map(fingerprint)).size, texts.length);
});

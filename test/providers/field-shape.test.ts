import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { checkShape } from "../../src/providers/field-shape.ts";
import type { Field, Shape } from "../../src/providers/schema.ts";
import { Secret } from "../../src/secret.ts";

const shape: Shape = {
  prefixes: ["AK", "PK"],
  alphabet: new Set(Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")),
  alphabetText: "A-Z0-9",
  minLength: 4,
  maxLength: 6,
  evidence: "D",
  enforced: true,
};

function field(own: Partial<Shape> | null): Field {
  return { name: "key_id", label: "Key", secret: true, shape: own && { ...shape, ...own }, hint: null };
}

function verdict(value: string | Uint8Array, own: Partial<Shape> | null = {}) {
  return checkShape(field(own), Secret.copyOf(Buffer.from(value)));
}

test("a value of the right shape passes", () => {
  for (const value of ["AK12", "PKZZZZ"]) assert.deepEqual(verdict(value), { ok: true });
  assert.deepEqual(verdict("anything-printable!~", null), { ok: true });
});

const wrong: [value: string, says: RegExp][] = [
  ["AK1", /^key_id: has 3 characters, expected 4 to 6;/],
  ["AK12345", /has 7 characters/],
  ["ZK12", /does not begin with AK or PK/],
  ["AK1z", /byte 4 is not one of A-Z0-9/],
];
for (const [value, says] of wrong) {
  test(`${value} is named as unlike the shape, and refused only when evidence allows`, () => {
    const strict = verdict(value);
    assert.ok(!strict.ok && strict.enforced);
    assert.match(strict.problem, says);
    const hint = verdict(value, { enforced: false });
    assert.ok(!hint.ok && !hint.enforced);
  });
}

test("bytes that no header can carry are always refused", () => {
  const values = ["", " AK12", "AK12 ", "AK12\n", "\tAK12", "AK\r\n12", "AK\x0012", "AK 12", "AK\x7f12", "AKé2"];
  for (const value of values) {
    for (const own of [{ enforced: false }, null]) {
      const result = verdict(value, own);
      assert.ok(!result.ok && result.enforced, JSON.stringify(value));
    }
  }
});

test("a problem never quotes the value", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 40 }), (bytes) => {
      const result = verdict(bytes);
      if (!result.ok) assert.ok(!result.problem.includes(Buffer.from(bytes).toString("latin1")));
    }),
    { seed: 7 },
  );
});

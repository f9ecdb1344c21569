import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  combinePoints,
  invert,
  multiply,
  type Point,
  splitSecret,
} from "../../../src/store/wrappers/secret-sharing.ts";

const byte = fc.integer({ min: 0, max: 255 });
const secret = fc.uint8Array({ minLength: 1, maxLength: 40 });

/** Random bytes that are the same for the same seed. */
function seeded(seed: number): (bytes: number) => Buffer {
  return (bytes) =>
    createHash("shake256", { outputLength: Math.max(1, bytes) })
      .update(String(seed))
      .digest()
      .subarray(0, bytes);
}

/** A set with some of its shares, in any order. */
const chosen = fc
  .record({ secret, count: fc.integer({ min: 2, max: 12 }), seed: fc.nat() })
  .chain((set) => fc.record({ set: fc.constant(set), threshold: fc.integer({ min: 2, max: set.count }) }))
  .chain(({ set, threshold }) => {
    const numbers = Array.from({ length: set.count }, (_, index) => index + 1);
    const picked = fc.shuffledSubarray(numbers, { minLength: threshold, maxLength: set.count });
    return fc.record({ set: fc.constant({ ...set, threshold }), picked });
  });

function points(shares: readonly Buffer[], numbers: readonly number[]): Point[] {
  return numbers.map((x) => ({ x, y: shares[x - 1] ?? assert.fail() }));
}

test("multiplication is that of AES's field: FIPS 197's example, and the laws of a field", () => {
  assert.equal(multiply(0x57, 0x83), 0xc1);
  assert.equal(multiply(0x57, 0x13), 0xfe);
  fc.assert(
    fc.property(byte, byte, byte, (a, b, c) => {
      assert.equal(multiply(a, b), multiply(b, a));
      assert.equal(multiply(a, multiply(b, c)), multiply(multiply(a, b), c));
      assert.equal(multiply(a, b ^ c), multiply(a, b) ^ multiply(a, c));
      assert.ok(multiply(a, b) <= 0xff);
    }),
  );
  for (let a = 1; a < 256; a++) assert.equal(multiply(a, invert(a)), 1);
});

test("any threshold many shares, in any order, give the secret back", () => {
  fc.assert(
    fc.property(chosen, ({ set, picked }) => {
      const shares = splitSecret(set.secret, set, seeded(set.seed));
      assert.deepEqual([...combinePoints(points(shares, picked))], [...set.secret]);
    }),
  );
});

test("one share less than the threshold fits every secret equally well", () => {
  // With k - 1 points fixed, each value of the missing one gives another secret: nothing is ruled out.
  const shares = splitSecret(Buffer.from([42]), { threshold: 3, count: 5 }, seeded(7));
  const found = new Set<number>();
  for (let guess = 0; guess < 256; guess++) {
    const all = [...points(shares, [2, 5]), { x: 3, y: Buffer.from([guess]) }];
    found.add(combinePoints(all)[0] ?? -1);
  }
  assert.equal(found.size, 256);
});

test("a changed share gives another secret, never an error that would tell how close it was", () => {
  fc.assert(
    fc.property(chosen, fc.nat(), fc.integer({ min: 1, max: 255 }), ({ set, picked }, at, flip) => {
      const shares = splitSecret(set.secret, set, seeded(set.seed));
      const used = picked.slice(0, set.threshold);
      const share = shares[(used[0] ?? 1) - 1] ?? assert.fail();
      share[at % share.length] = (share[at % share.length] ?? 0) ^ flip;
      assert.notDeepEqual([...combinePoints(points(shares, used))], [...set.secret]);
    }),
  );
});

test("the random coefficients are wiped, and impossible sets are refused", () => {
  let given: Buffer = Buffer.alloc(0);
  const random = (bytes: number): Buffer => {
    given = seeded(1)(bytes);
    return given;
  };
  splitSecret(Buffer.from("secret"), { threshold: 2, count: 3 }, random);
  assert.ok(given.length === 6 && given.every((one) => one === 0));
  for (const set of [
    { threshold: 4, count: 3 },
    { threshold: 0, count: 3 },
    { threshold: 2, count: 256 },
  ]) {
    assert.throws(() => splitSecret(Buffer.from("s"), set, seeded(1)), /cannot be made/);
  }
});

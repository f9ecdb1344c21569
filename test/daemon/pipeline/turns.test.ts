import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { takeTurn } from "../../../src/daemon/pipeline/turns.ts";

interface Member {
  readonly name: string;
  readonly weight: number;
}

function take(turns: Map<string, number>, members: readonly Member[], rounds: number): string[] {
  const [first, ...others] = members;
  assert.ok(first);
  return Array.from({ length: rounds }, () => takeTurn(turns, [first, ...others]).name);
}

const a = { name: "a", weight: 5 };
const b = { name: "b", weight: 1 };
const c = { name: "c", weight: 1 };

test("turns of one member lie apart, and shares are exact over a round", () => {
  const turns = new Map<string, number>();
  assert.deepEqual(take(turns, [a, b, c], 7), ["a", "a", "b", "a", "c", "a", "a"]);
  assert.deepEqual([...turns.values()], [0, 0, 0]);
});

test("equal weights take turns; a single member always has its turn and owes nothing", () => {
  const equal = [b, c];
  assert.deepEqual(take(new Map(), equal, 4), ["b", "c", "b", "c"]);
  const turns = new Map<string, number>();
  assert.deepEqual(take(turns, [a], 3), ["a", "a", "a"]);
  assert.equal(turns.get("a"), 0);
});

test("while a member is away the others share by their own weights, and it comes back without a rush", () => {
  const turns = new Map<string, number>();
  const others = [{ name: "b", weight: 3 }, c];
  take(turns, [a, ...others], 4);
  const away = take(turns, others, 40);
  const share = away.filter((name) => name === "b").length;
  assert.ok(Math.abs(share - 30) <= 3, `${share} of 40`);
  const back = take(turns, [a, ...others], 9);
  assert.ok(back.filter((name) => name === "a").length <= 7, back.join(" "));
});

const MEMBERS = fc.uniqueArray(
  fc.record({ name: fc.constantFrom("a", "b", "c", "d", "e"), weight: fc.integer({ min: 1, max: 50 }) }),
  { minLength: 1, selector: ({ name }) => name },
);

test("each share converges to its weight: never a whole turn of the total away", () => {
  fc.assert(
    fc.property(MEMBERS, fc.integer({ min: 1, max: 500 }), (members, rounds) => {
      const total = members.reduce((sum, { weight }) => sum + weight, 0);
      const taken = take(new Map(), members, rounds);
      for (const { name, weight } of members) {
        const count = taken.filter((one) => one === name).length;
        assert.ok(Math.abs(count - (rounds * weight) / total) < members.length, `${name} ${count} of ${rounds}`);
      }
    }),
  );
});

test("whoever comes and goes, the books stay balanced and bounded", () => {
  fc.assert(
    fc.property(MEMBERS, fc.array(fc.integer({ min: 1, max: 31 }), { maxLength: 200 }), (members, present) => {
      const turns = new Map<string, number>();
      const total = members.reduce((sum, { weight }) => sum + weight, 0);
      for (const mask of present) {
        const [first, ...others] = members.filter((_, index) => (mask >> index) & 1);
        if (first) takeTurn(turns, [first, ...others]);
        const credits = [...turns.values()];
        assert.equal(
          credits.reduce((sum, credit) => sum + credit, 0),
          0,
        );
        for (const credit of credits) assert.ok(Math.abs(credit) <= total * members.length);
      }
    }),
  );
});

import assert from "node:assert/strict";
import test from "node:test";
import { frozenList, frozenMap, frozenSet } from "../../src/policy/freeze.ts";

test("frozen collections can be read like any other, and not changed", () => {
  const map = frozenMap([["a", 1]]) as Map<string, number>;
  const set = frozenSet(["a"]) as Set<string>;
  const list = frozenList(["a"]) as string[];
  assert.deepEqual([map.get("a"), map.size, [...map.keys()]], [1, 1, ["a"]]);
  assert.deepEqual([set.has("a"), set.size, [...set]], [true, 1, ["a"]]);
  for (const change of [() => map.set("b", 2), () => map.delete("a"), () => map.clear()])
    assert.throws(change, /frozen/);
  for (const change of [() => set.add("b"), () => set.delete("a"), () => set.clear()]) assert.throws(change, /frozen/);
  assert.throws(() => list.push("b"), TypeError);
  assert.deepEqual([map.size, set.size, list.length], [1, 1, 1]);
});

test("freezing copies, so the original stays its owner's", () => {
  const original = new Map([["a", 1]]);
  frozenMap(original);
  original.set("b", 2);
  assert.equal(original.size, 2);
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  countIn,
  memberOf,
  modelName,
  nanoUsd,
  objectIn,
  partIn,
  reportedObject,
  secondsIn,
  tierName,
} from "../../../src/providers/usage/reported.ts";

describe("what a provider reports", () => {
  test("counts are whole and at most a million million", () => {
    const read = (json: string): number | null => countIn(reportedObject(Buffer.from(`{"n":${json}}`)), "n");
    for (const [json, count] of [
      ["0", 0],
      ["5", 5],
      ["5.0", 5],
      ["1e3", 1000],
      ["1e12", 1e12],
      ["null", null],
    ] as const)
      assert.equal(read(json), count);
    for (const json of ["-1", "0.5", "1e13", "1e300", "1e999", '"5"', "true", "[]", "{}"])
      assert.ok(Number.isNaN(read(json)), json);
    assert.equal(countIn({ a: 1, b: 2 }, "x", "b", "a"), 2);
    assert.deepEqual([partIn({ n: -1 }, "n"), partIn({ n: 3 }, "n"), partIn(null, "n")], [0, 3, 0]);
    assert.deepEqual(
      [secondsIn({ s: 8.01 }, "s"), secondsIn({ s: -1 }, "s"), secondsIn({ s: "8" }, "s")],
      [9, null, null],
    );
  });

  test("members are its own", () => {
    const object = reportedObject(Buffer.from('{"__proto__":{"toString":1},"a":{"b":2}}'));
    assert.equal(memberOf(object, "toString"), undefined);
    assert.deepEqual(objectIn(object, "x", "a"), { b: 2 });
    for (const json of ["[]", "null", "7", '"x"', "{", ""]) assert.equal(reportedObject(Buffer.from(json)), null, json);
  });

  test("names of models and tiers are such that they may be shown", () => {
    for (const name of ["gpt-4o", "meta-llama/Llama-3.3-70B-Instruct:free", "x".repeat(128)])
      assert.equal(modelName(name), name);
    for (const name of ["", " ", "a b", "a\nb", "\u00e9", "x".repeat(129), 7, null, undefined])
      assert.equal(modelName(name), null);
    assert.deepEqual(["flex", "Priority", "batch"].map(tierName), ["flex", "priority", "batch"]);
    for (const name of ["default", "auto", "standard", "on_demand", "", "a b", "x".repeat(40), 7, null])
      assert.equal(tierName(name), null);
  });

  test("dollars are whole nano-dollars, rounded up and without the noise of a double", () => {
    for (const [usd, nano] of [
      [0, 0],
      [0.00014, 140_000],
      [0.1 + 0.2, 300_000_000],
      [1e-9, 1],
      [1e-10, 1],
      [0.95, 950_000_000],
      [1.000000001, 1_000_000_001],
      [1e6, 1e15],
    ] as const) {
      assert.equal(nanoUsd(usd), nano, String(usd));
    }
    for (const usd of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e7, "1", null]) assert.equal(nanoUsd(usd), null);
  });
});

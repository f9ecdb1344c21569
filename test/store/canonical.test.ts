import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { canonicalJson } from "../../src/store/canonical.ts";

describe("canonical JSON", () => {
  it("writes the same value in one way only", () => {
    assert.equal(
      canonicalJson({ b: [1, null, true], a: { y: "é\n", x: -5 } }),
      '{"a":{"x":-5,"y":"é\\n"},"b":[1,null,true]}',
    );
    assert.equal(canonicalJson({ a: 1, b: 2 }), canonicalJson({ b: 2, a: 1 }));
  });

  it("refuses numbers that two writers could spell differently", () => {
    for (const number of [0.1, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      assert.throws(() => canonicalJson({ number }), /safe integer/);
    }
  });
});

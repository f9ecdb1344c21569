import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { usdText } from "../../src/policy/usd-text.ts";

test("money is written exactly, with at least two digits behind the point", () => {
  const texts: [number | bigint, string][] = [
    [0, "0.00"],
    [1, "0.000000001"],
    [200_000_000, "0.20"],
    [1_234_500_000, "1.2345"],
    [100_000_000_000, "100.00"],
    [1_000_000_010, "1.00000001"],
    [Number.MAX_SAFE_INTEGER, "9007199.254740991"],
    [1_500_000_000.9, "1.50"],
    [1e15 - 1, "999999.999999999"],
    [2n ** 62n, "4611686018.427387904"],
  ];
  for (const [nano, text] of texts) assert.equal(usdText(nano), text);
});

test("the digits read back are the nano-dollars", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n }), (nano) => {
      const [whole = "", fraction = ""] = usdText(nano).split(".");
      assert.equal(BigInt(whole + fraction.padEnd(9, "0")), nano);
      assert.match(fraction, /^\d{2}(?:\d*[1-9])?$/);
    }),
  );
});

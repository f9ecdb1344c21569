import assert from "node:assert/strict";
import { test } from "node:test";
import { formatUsd } from "../../src/cli/money.ts";

test("nano-dollars are shown as dollars with every decimal that counts, and at least two", () => {
  const shown: readonly (readonly [number, string])[] = [
    [0, "0.00"],
    [1, "0.000000001"],
    [4_500_000, "0.0045"],
    [100_000_000, "0.10"],
    [999_999_999, "0.999999999"],
    [1_000_000_000, "1.00"],
    [12_500_000_000, "12.50"],
    [10_000_000_000_000, "10000.00"],
    [Number.MAX_SAFE_INTEGER, "9007199.254740991"],
  ];
  for (const [nanoUsd, text] of shown) assert.equal(formatUsd(nanoUsd), text);
});

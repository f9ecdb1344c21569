import assert from "node:assert/strict";
import test from "node:test";
import { amountText, budgetText } from "../../src/policy/budget-text.ts";
import { tokensPer, usdPer } from "./limit-steps.ts";

test("a budget in words", () => {
  assert.equal(amountText({ kind: "tokens" }, 1200), "1200 tokens");
  assert.equal(amountText({ kind: "usd" }, 1_500_000_000), "1.50 USD");
  assert.equal(budgetText(tokensPer(200_000, 60_000)), "200000 tokens in 60 s");
  const calendar = { unit: "day", zone: "Europe/Berlin" } as const;
  assert.equal(budgetText(usdPer(25e9, 86_400_000, { calendar })), "25.00 USD per day (Europe/Berlin)");
});

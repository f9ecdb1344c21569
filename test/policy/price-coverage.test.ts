import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parsePolicy } from "../../src/policy/parse.ts";
import { unpricedBudgets } from "../../src/policy/price-coverage.ts";
import { NO_PRICES, type PriceTable } from "../../src/policy/price-table.ts";
import { formatProblem } from "../../src/policy/problem.ts";
import { tableOf } from "./price-fixture.ts";

const PRICES = tableOf(`version: 1
table: t
providers:
  openai: { models: [{ names: [gpt], prices: [{ from: 2026-01-01, input: 1, output: 2 }] }] }
  fmp: { flat: true }
`);

function warnings(provider: string, prices: PriceTable, ...limits: string[]): string[] {
  const yaml = `version: 1
clients: { app: { token: true } }
routes:
  main:
    provider: ${provider}
    credentials: [key]
    clients: [app]
    limits:
${limits.map((limit) => `      - ${limit}`).join("\n")}
`;
  return unpricedBudgets(parsePolicy(yaml, "policy.yaml"), prices).map((each) => formatProblem("policy.yaml", each));
}

const RATE = "{ name: rate, per: [client], requests: 60/min }";
const TOKENS = "{ name: tokens, per: [client], tokens: 1000/day }";
const USD = "{ name: day, per: [client], usd: 5/day }";

describe("budgets in dollars and the price table", () => {
  test("a provider without prices is a warning at each limit in dollars, and only there", () => {
    assert.deepEqual(warnings("cohere", PRICES, RATE, USD, TOKENS, USD.replace("day,", "month,")), [
      "policy.yaml:10 routes.main.limits[1].usd: the price table has no prices of cohere, so this limit denies every call; add them and see `sidekey prices check`",
      "policy.yaml:12 routes.main.limits[3].usd: the price table has no prices of cohere, so this limit denies every call; add them and see `sidekey prices check`",
    ]);
  });

  test("it says that nothing is counted where unpriced calls are allowed", () => {
    const [warning] = warnings("cohere", PRICES, USD.replace(" }", ", unpriced: allow }"));
    assert.match(warning ?? "", /so this limit counts nothing; add them/);
  });

  test("a subscription is a warning of its own: nothing is ever denied", () => {
    assert.deepEqual(warnings("fmp", PRICES, USD), [
      "policy.yaml:9 routes.main.limits[0].usd: calls of fmp are free by the price table, so this limit never denies one",
    ]);
  });

  test("a provider with prices, or limits that are not in dollars, are no warning", () => {
    assert.deepEqual(warnings("openai", PRICES, USD), []);
    assert.deepEqual(warnings("cohere", PRICES, RATE, TOKENS), []);
  });

  test("without a table every limit in dollars is warned of, whatever the provider is called", () => {
    for (const provider of ["openai", "fmp", "constructor"]) {
      assert.equal(warnings(provider, NO_PRICES, USD).length, 1, provider);
    }
  });
});

import assert from "node:assert/strict";
import test from "node:test";
import { costIn, modelYaml, priceProblems, pricesYaml, tableOf } from "./price-fixture.ts";

const MILLION = { input: 1_000_000 };

/** An entry of names at a price. */
function entry(names: string, price: number): string {
  return `  - { names: [${names}], prices: [{ from: 2026-01-01, input: ${price} }] }`;
}

function dollars(yaml: string, model: string | null): number | null {
  const { nanoUsd, unpriced } = costIn(tableOf(yaml), { model, units: MILLION });
  return unpriced.length > 0 ? null : nanoUsd / 1e9;
}

test("an exact name is meant before any pattern, and a pattern with more characters before one with fewer", () => {
  const yaml = pricesYaml(
    "models:",
    entry("'*'", 1),
    entry("gpt-*", 2),
    entry("gpt-4o-20*", 3),
    entry("gpt-4o-2024-05-13, gpt-4o", 4),
    entry("'*-latest'", 5),
  );
  assert.equal(dollars(yaml, "gpt-4o"), 4);
  assert.equal(dollars(yaml, "gpt-4o-2024-05-13"), 4);
  assert.equal(dollars(yaml, "gpt-4o-2024-08-06"), 3);
  assert.equal(dollars(yaml, "gpt-4o-audio-preview-2024-12-17"), 2);
  assert.equal(dollars(yaml, "gpt-4o-latest"), 5);
  assert.equal(dollars(yaml, "o1"), 1);
  assert.equal(dollars(yaml, ""), 1);
  assert.equal(dollars(yaml, null), 1);
});

test("a family's pattern covers its snapshots and not its smaller sisters", () => {
  const yaml = pricesYaml("models:", entry("gpt-4o, gpt-4o-20*", 2.5));
  assert.equal(dollars(yaml, "gpt-4o-2024-08-06"), 2.5);
  for (const model of ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o-audio-preview-2024-10-01", "gpt-4", null, ""]) {
    assert.equal(dollars(yaml, model), null, String(model));
  }
});

test("two patterns of which neither is the narrower are refused, whether or not their characters are the same", () => {
  assert.deepEqual(priceProblems(pricesYaml("models:", entry("gpt-*-x", 1), entry("'*-min-x'", 2))), [
    'prices.yaml:7 providers.p.models[1].names[0]: "*-min-x" and "gpt-*-x" in models[0] can mean the same model; make one narrower',
  ]);
  assert.deepEqual(priceProblems(pricesYaml("models:", entry("gpt-*-x", 1), entry("'*-mini-x'", 2))), []);
  assert.deepEqual(priceProblems(pricesYaml("models:", entry("a*b", 1), entry("c*d", 2))), []);
  assert.deepEqual(priceProblems(pricesYaml("models:", entry("ab*, a*b", 1))), []);
});

test("a name that is priced twice is refused", () => {
  assert.deepEqual(priceProblems(pricesYaml("models:", entry("a, b", 1), entry("c, a", 2))), [
    'prices.yaml:7 providers.p.models[1].names[1]: "a" is in models[0] too; keep one of them',
  ]);
  assert.deepEqual(priceProblems(pricesYaml("models:", entry("a*", 1), entry("a*", 2))), [
    'prices.yaml:7 providers.p.models[1].names[0]: "a*" is in models[0] too; keep one of them',
  ]);
});

test("names that clients make up are looked up as well after thousands of others, and a very long one has no price", () => {
  const table = tableOf(pricesYaml("models:", entry("m-*", 1)));
  for (let n = 0; n < 3_000; n++) {
    assert.deepEqual(costIn(table, { model: `m-${n}`, units: MILLION }).nanoUsd, 1e9);
    assert.deepEqual(costIn(table, { model: `other-${n}`, units: MILLION }).unpriced, ["input"]);
  }
  assert.deepEqual(costIn(table, { model: `m-${"x".repeat(198)}`, units: MILLION }).unpriced, []);
  assert.deepEqual(costIn(table, { model: `m-${"x".repeat(199)}`, units: MILLION }).unpriced, ["input"]);
  assert.deepEqual(costIn(table, { model: "m-0", units: MILLION }).nanoUsd, 1e9);
});

const EUROS = `version: 1
table: t
currencies:
  EUR: [{ from: 2026-01-01, usd: 1.1 }, { from: 2026-07-01, usd: "1.123456789" }]
providers:
  p: { currency: EUR, models: [{ names: [m], prices: [{ from: 2026-03-01, input: 2, output: 3.5 }] }] }
`;

test("a price in another currency is exact by the rate of its day", () => {
  const table = tableOf(EUROS);
  const before = Date.UTC(2026, 6, 1) - 1;
  assert.equal(costIn(table, { units: MILLION, atMs: before }).nanoUsd, 2_200_000_000);
  assert.equal(costIn(table, { units: MILLION, atMs: before + 1 }).nanoUsd, 2_246_913_578);
  assert.equal(costIn(table, { units: { output: 1 }, atMs: before + 1 }).nanoUsd, 3_933);
  assert.deepEqual(costIn(table, { units: MILLION, atMs: Date.UTC(2026, 2, 1) - 1 }).unpriced, ["input"]);
});

test("a currency without rates, or a price from before the first one, is refused", () => {
  assert.deepEqual(priceProblems(EUROS.replace("currency: EUR", "currency: CNY")), [
    "prices.yaml:6 providers.p.currency: there are no rates for CNY; add CNY under currencies",
  ]);
  assert.deepEqual(priceProblems(EUROS.replace("2026-03-01", "2025-12-31")), [
    "prices.yaml:6 providers.p.models[0].prices[0].from: is before the first rate of EUR; add one under currencies, or begin later",
  ]);
  assert.deepEqual(priceProblems(EUROS.replace("2026-07-01", "2026-01-01")), [
    "prices.yaml:4 currencies.EUR[1].from: begins when another one does; keep one",
  ]);
});

test("dollars need no rate, and can be named", () => {
  const yaml = modelYaml("{ from: 2026-01-01, input: 1 }").replace("models:", "currency: USD\n    models:");
  assert.equal(costIn(tableOf(yaml), { units: MILLION }).nanoUsd, 1e9);
});

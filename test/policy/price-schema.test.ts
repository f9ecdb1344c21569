import assert from "node:assert/strict";
import test from "node:test";
import { PriceError, parsePrices } from "../../src/policy/price-table.ts";
import { UNITS } from "../../src/providers/usage/usage.ts";
import { modelYaml, priceProblems, pricesYaml } from "./price-fixture.ts";

const AT = "prices.yaml:8 providers.p.models[0].prices[0]";

const PROBLEMS: readonly [sentence: string, yaml: string, ...expected: string[]][] = [
  [
    "an unknown unit",
    modelYaml("{ from: 2026-01-01, inputs: 1 }"),
    `${AT}.inputs: unknown key; remove it or correct its spelling`,
  ],
  ["an alias", modelYaml("*x"), "prices.yaml:8: alias *x is not accepted; write the value out"],
  [
    "a merge key",
    modelYaml("{ <<: { input: 1 } }"),
    "prices.yaml:8: merge key << is not accepted; write the entries out",
  ],
  ["a duplicate unit", modelYaml("{ input: 1, input: 2 }"), 'prices.yaml:8: duplicate key "input"; keep one of them'],
  ["a prototype key", pricesYaml("__proto__: 1"), "prices.yaml:5: __proto__ is not accepted as a key"],
  [
    "a price of the wrong kind",
    modelYaml("{ from: 2026-01-01, input: yes }"),
    `${AT}.input: "yes" is not a decimal number; write a price per million tokens, such as 2.50`,
  ],
  [
    "a list as a price",
    modelYaml("{ from: 2026-01-01, input: [1] }"),
    `${AT}.input: must be a price per million tokens, such as 2.50`,
  ],
  [
    "a missing price",
    modelYaml("{ from: 2026-01-01, input: }"),
    `${AT}.input: must be a price per million tokens, such as 2.50`,
  ],
  [
    "a price below nothing",
    modelYaml("{ from: 2026-01-01, input: -1 }"),
    `${AT}.input: -1 is not a decimal number; write a price per million tokens, such as 2.50`,
  ],
  [
    "a price that is not finite",
    modelYaml("{ from: 2026-01-01, input: .inf }"),
    `${AT}.input: must be a price per million tokens, such as 2.50`,
  ],
  [
    "a price with a currency sign",
    modelYaml("{ from: 2026-01-01, input: $2 }"),
    `${AT}.input: "$2" is not a decimal number; write a price per million tokens, such as 2.50`,
  ],
  [
    "a decimal comma",
    modelYaml("{ from: 2026-01-01, input: '2,50' }"),
    `${AT}.input: "2,50" is not a decimal number; write a price per million tokens, such as 2.50`,
  ],
  [
    "a price too fine to count",
    modelYaml("{ from: 2026-01-01, input: 0.00000000015 }"),
    `${AT}.input: 1.5e-10 has more than 9 decimals; write it for a larger quantity`,
  ],
  [
    "a price per nothing",
    modelYaml("{ from: 2026-01-01, character: 15 }"),
    `${AT}.character: 15 has no quantity; write a price with its quantity, such as 15/1M`,
  ],
  [
    "a price per something else",
    modelYaml("{ from: 2026-01-01, second: 1/day }"),
    `${AT}.second: "1/day" is per an unknown quantity; write one of /s, /min, /h`,
  ],
  [
    "no beginning",
    modelYaml("{ input: 1 }"),
    `${AT}.from: is missing; write a day or a time in UTC, such as 2026-08-16 or 2026-08-16T16:00Z`,
  ],
  [
    "a beginning that no calendar has",
    modelYaml("{ from: 2026-02-30, input: 1 }"),
    `${AT}.from: "2026-02-30" is no time; write 2026-08-16 or 2026-08-16T16:00Z (UTC)`,
  ],
  [
    "a time zone",
    modelYaml("{ from: '2026-02-03T00:00+01:00', input: 1 }"),
    `${AT}.from: "2026-02-03T00:00+01:00" is no time; write 2026-08-16 or 2026-08-16T16:00Z (UTC)`,
  ],
  [
    "no prices",
    modelYaml(),
    "prices.yaml:7 providers.p.models[0].prices: is not a list; write prices, such as [{ from: 2026-01-01, input: 2.50, output: 10 }]",
  ],
  [
    "an answer of no length",
    modelYaml("{ from: 2026-01-01, input: 1, maxOutput: 0 }"),
    `${AT}.maxOutput: must be 1 or more`,
  ],
  [
    "an answer of half a token",
    modelYaml("{ from: 2026-01-01, input: 1, maxOutput: 0.5 }"),
    `${AT}.maxOutput: must be a whole number of tokens from 1 to 1000000000`,
  ],
  [
    "a tier of no kind",
    modelYaml("{ from: 2026-01-01, input: 1, tiers: { batch: [] } }"),
    `${AT}.tiers.batch: must be a factor, such as 0.5, or prices, such as { input: 1.25 }`,
  ],
  [
    "a factor of nothing",
    modelYaml("{ from: 2026-01-01, input: 1, tiers: { batch: 0 } }"),
    `${AT}.tiers.batch: is 0; write a factor above 0, such as 0.5`,
  ],
  [
    "a factor below nothing",
    modelYaml("{ from: 2026-01-01, input: 1, tiers: { batch: -0.5 } }"),
    `${AT}.tiers.batch: -0.5 is not a decimal number; write a factor above 0, such as 0.5`,
  ],
  [
    "a per cent",
    modelYaml("{ from: 2026-01-01, input: 1, tiers: { batch: 50% } }"),
    `${AT}.tiers.batch: "50%" is not a decimal number; write a factor above 0, such as 0.5`,
  ],
  [
    "a tier with an unknown unit",
    modelYaml("{ from: 2026-01-01, input: 1, tiers: { batch: { inputs: 1 } } }"),
    `${AT}.tiers.batch.inputs: unknown key; remove it or correct its spelling`,
  ],
  [
    "a tier with a bad price",
    modelYaml("{ from: 2026-01-01, input: 1, tiers: { batch: { input: x } } }"),
    `${AT}.tiers.batch.input: "x" is not a decimal number; write a price per million tokens, such as 2.50`,
  ],
  [
    "a tier with a bad name",
    modelYaml("{ from: 2026-01-01, input: 1, tiers: { Batch: 1 } }"),
    `${AT}.tiers.Batch: "Batch" is not a tier's name; write it as the provider does, such as batch`,
  ],
  [
    "peak hours of no form",
    modelYaml("{ from: 2026-01-01, input: 1, peak: { hours: [morning], factor: 2 } }"),
    `${AT}.peak.hours[0]: "morning" are no hours; write them in UTC, such as mon-fri 01:00-04:00`,
  ],
  [
    "peak hours without a factor",
    modelYaml("{ from: 2026-01-01, input: 1, peak: { hours: [mon 01:00-02:00] } }"),
    `${AT}.peak.factor: must be a factor above 0, such as 0.5`,
  ],
  [
    "a provider that says nothing",
    pricesYaml("currency: USD"),
    "prices.yaml:4 providers.p: says no price; write models, or flat: true for a subscription",
  ],
  [
    "a flat provider with prices",
    pricesYaml("flat: true", "models: [{ names: [m], prices: [{ from: 2026-01-01, input: 1 }] }]"),
    "prices.yaml:5 providers.p.flat: does not go with models; remove one of them",
  ],
  [
    "a provider that is not flat",
    pricesYaml("flat: false"),
    "prices.yaml:5 providers.p.flat: must be true, or left out",
  ],
  [
    "a currency in words",
    pricesYaml("currency: euro", "models: [{ names: [m], prices: [{ from: 2026-01-01, input: 1 }] }]"),
    'prices.yaml:5 providers.p.currency: "euro" is not a currency; write three capitals',
  ],
  [
    "a name twice in an entry",
    pricesYaml("models: [{ names: [m, m], prices: [{ from: 2026-01-01, input: 1 }] }]"),
    "prices.yaml:5 providers.p.models[0].names[1]: is listed twice; remove one",
  ],
  [
    "a name with a space",
    pricesYaml("models: [{ names: ['m 1'], prices: [{ from: 2026-01-01, input: 1 }] }]"),
    'prices.yaml:5 providers.p.models[0].names[0]: "m 1" is not a model\'s name; write 1 to 200 characters without spaces',
  ],
  [
    "a number as a name",
    pricesYaml("models: [{ names: [4], prices: [{ from: 2026-01-01, input: 1 }] }]"),
    "prices.yaml:5 providers.p.models[0].names[0]: 4 is a number; write a model's name, or a pattern such as gpt-4o-20*, in quotes if need be",
  ],
  [
    "a provider's id with capitals",
    "version: 1\ntable: t\nproviders:\n  OpenAI: { flat: true }\n",
    'prices.yaml:4 providers.OpenAI: "OpenAI" is not a name; write lower-case letters, digits and -, such as fmp',
  ],
  [
    "a table's name with spaces",
    "version: 1\ntable: my table\nproviders: {}\n",
    'prices.yaml:2 table: "my table" is not a table\'s name; write its day, such as 2026-11-28',
  ],
  [
    "another version",
    "version: 2\ntable: t\nproviders: {}\n",
    "prices.yaml:1 version: must be 1, the only version there is",
  ],
  ["no map at all", "- a\n", "prices.yaml:1: must be a map: version, table and providers"],
  [
    "an empty file",
    "",
    "prices.yaml:1 version: must be 1, the only version there is",
    "prices.yaml:1 table: is missing; write a name of this table, such as its day",
    "prices.yaml:1 providers: must be a map of providers, such as { fmp: { flat: true } }",
  ],
];

test("a bad price file is refused with file, line, path and what to write instead", async (t) => {
  for (const [sentence, yaml, ...expected] of PROBLEMS) {
    await t.test(sentence, () => assert.deepEqual(priceProblems(yaml), expected));
  }
});

test("all problems of a file are reported together, in the order of lines", () => {
  const yaml = modelYaml(
    "{ from: 2026-02-30, input: 1 }",
    "{ from: 2026-01-01, foo: 1 }",
    "{ from: 2026-01-01, input: x }",
  );
  const lines = priceProblems(yaml).map((line) => line.split(" ", 1)[0]);
  assert.deepEqual(lines, ["prices.yaml:8", "prices.yaml:9", "prices.yaml:10"]);
});

test("a problem carries its line, column and path as data", () => {
  assert.throws(
    () => parsePrices(modelYaml("{ from: 2026-01-01, byte: 5 }"), "prices.yaml"),
    (error) => {
      assert.ok(error instanceof PriceError);
      const message = "5 has no quantity; write a price per 1000000000 bytes, such as 0.09/GB";
      assert.deepEqual(error.problems, [
        { line: 8, column: 33, path: "providers.p.models[0].prices[0].byte", message },
      ]);
      return true;
    },
  );
});

test("every unit can have a price", () => {
  const units = UNITS.map((unit) => {
    const quantity = { character: "/1M", second: "/min", byte: "/GB" }[unit as string] ?? "";
    return `${unit}: 1${quantity}`;
  });
  assert.deepEqual(priceProblems(modelYaml(`{ from: 2026-01-01, ${units.join(", ")} }`)), []);
});

test("names that every object inherits are ordinary names, of providers, models, tiers and nothing else", () => {
  const period = "{ from: 2026-01-01, input: 1, tiers: { constructor: 0.5 } }";
  const models = `{ models: [{ names: [__proto__, constructor, toString], prices: [${period}] }] }`;
  assert.deepEqual(
    priceProblems(`version: 1\ntable: t\nproviders:\n  constructor: ${models}\n  valueof: { flat: true }\n`),
    [],
  );
});

/** Files that mean far more than they say, or that cost more than they weigh. */
const BOMBS: Readonly<Record<string, string>> = {
  "billion laughs": `a: &a [x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &b${i} [*a, *a, *a]`).join("\n")}`,
  "deep map": "{a: ".repeat(20_000),
  "too large": "#".repeat(1024 * 1024 + 1),
  "many unknown keys": Array.from({ length: 10_000 }, (_, i) => `k${i}: 1`).join("\n"),
  "many bad prices": modelYaml(...Array.from({ length: 5_000 }, () => "{ from: 2026-01-01, input: x }")),
  "many names": pricesYaml(
    `models: [{ names: [${Array.from({ length: 2_001 }, (_, i) => `m${i}*`).join(", ")}], prices: [{ from: 2026-01-01, input: 1 }] }]`,
  ),
};

test("a file that is made to cost much is refused with a bounded number of problems", async (t) => {
  for (const [name, yaml] of Object.entries(BOMBS)) {
    await t.test(name, () => {
      const problems = priceProblems(yaml);
      assert.ok(problems.length >= 1 && problems.length <= 60, `${problems.length} problems`);
    });
  }
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import {
  costOf,
  maxOutputOf,
  NO_PRICES,
  type PricedCall,
  PriceError,
  parsePriceDocument,
  parsePrices,
} from "../../src/policy/price-table.ts";
import { loadCatalog } from "../../src/providers/catalog.ts";
import type { Units } from "../../src/providers/usage/usage.ts";
import { costIn, modelYaml, pricesYaml, tableOf } from "./price-fixture.ts";

const CONFIG = join(import.meta.dirname, "../../config");
const SAMPLE = readFileSync(join(CONFIG, "prices.yaml"), "utf8");
const sample = parsePrices(SAMPLE, "prices.yaml");

test("a cost carries the version of its table, which changes with every character of the file", () => {
  const yaml = modelYaml("{ from: 2026-01-01, input: 2 }");
  const table = tableOf(yaml);
  assert.match(table.version, /^t\+[0-9a-f]{12}$/);
  assert.deepEqual(costIn(table, { units: { input: 3 } }), { nanoUsd: 6_000, unpriced: [], table: table.version });
  assert.equal(tableOf(yaml).version, table.version);
  assert.notEqual(tableOf(`${yaml}# checked again\n`).version, table.version);
  assert.notEqual(tableOf(yaml.replace("input: 2", "input: 3")).version, table.version);
});

test("a model that the table does not know is unpriced with everything that it used, never 0", () => {
  const table = tableOf(modelYaml("{ from: 2026-01-01, input: 2 }"));
  const units: Units = { output: 5, input: 3, web_search: 1, request: 1, byte: 100, cached_input: 0 };
  for (const model of ["n", "M", "m ", "__proto__", "constructor", "toString", "", null]) {
    const { nanoUsd, unpriced } = costIn(table, { model, units });
    assert.deepEqual([nanoUsd, unpriced], [0, ["input", "output", "web_search"]], String(model));
  }
});

test("a call that used nothing but requests and bytes is not unpriced at a provider that the table knows", () => {
  const table = tableOf(modelYaml("{ from: 2026-01-01, input: 2 }"));
  assert.deepEqual(costIn(table, { model: null, units: { request: 1, byte: 4_000 } }).unpriced, []);
  assert.deepEqual(costIn(table, { model: "n", units: { request: 1, credit: 3 } }).unpriced, []);
});

test("at a provider that the table does not know, nothing is known to be free", () => {
  const table = tableOf(modelYaml("{ from: 2026-01-01, input: 2 }"));
  for (const provider of ["q", "__proto__", "constructor"]) {
    assert.deepEqual(costIn(table, { provider, units: { request: 1, byte: 4_000 } }).unpriced, ["request", "byte"]);
    assert.deepEqual(costIn(table, { provider, units: {} }).unpriced, []);
  }
});

test("without a table every call is unpriced and no answer has a known length", () => {
  const units: Units = { input: 1, request: 1 };
  assert.deepEqual(costIn(NO_PRICES, { units }), { nanoUsd: 0, unpriced: ["input", "request"], table: "none" });
  assert.equal(maxOutputOf(NO_PRICES, "p", "m", 0), null);
});

test("a flat provider's calls cost nothing, whatever they use and whenever", () => {
  const table = tableOf(pricesYaml("flat: true"));
  const units: Units = { request: 1, byte: 1e12, credit: 8, input: 1e12, tool_call: 1 };
  for (const atMs of [0, -1, Number.NaN, 1e15]) {
    assert.deepEqual(costIn(table, { units, atMs, tier: "x" }), { nanoUsd: 0, unpriced: [], table: table.version });
  }
});

test("a pattern for everything prices calls that name no model", () => {
  const table = tableOf(pricesYaml("models:", "  - { names: ['*'], prices: [{ from: 2026-01-01, request: 0.0005 }] }"));
  assert.equal(costIn(table, { model: null, units: { request: 1, byte: 10 } }).nanoUsd, 500_000);
  assert.equal(costIn(table, { model: "x", units: { request: 2 } }).nanoUsd, 1_000_000);
});

test("a time that is none has no price", () => {
  const table = tableOf(modelYaml("{ from: 2026-01-01, input: 2 }"));
  for (const atMs of [Number.NaN, Number.NEGATIVE_INFINITY, 0]) {
    assert.deepEqual(costIn(table, { units: { input: 1 }, atMs }).unpriced, ["input"]);
  }
});

test("a table cannot be changed", () => {
  const table = tableOf(modelYaml("{ from: 2026-01-01, input: 2, tiers: { batch: 0.5 } }"));
  assert.ok(Object.isFrozen(table));
  assert.throws(() => (table.providers as Map<string, unknown>).set("p", null), /frozen/);
  const [period] = table.providers.get("p")?.find("m") ?? [];
  assert.ok(period !== undefined && Object.isFrozen(period) && Object.isFrozen(period.standard));
  assert.ok(Object.isFrozen(period.standard[0]?.rates.weights) && Object.isFrozen(period.standard[0]?.rates.quick));
  assert.throws(() => (period.tiers as Map<string, unknown>).clear(), /frozen/);
});

test("a document has the file as it is written beside the table", () => {
  const { content, table } = parsePriceDocument(modelYaml("{ from: 2026-01-01, input: 2.50 }"), "prices.yaml");
  assert.deepEqual(content.providers.p?.models?.[0]?.prices[0], { from: "2026-01-01", input: 2.5 });
  assert.equal(costIn(table, { units: { input: 2 } }).nanoUsd, 5_000);
});

test("an error tells all of its problems at once, sorted by line", () => {
  const yaml = modelYaml("{ from: 2026-03-01, to: 2026-02-01, input: 1 }", "{ from: 2026-01-01, maxOutput: 5 }");
  assert.throws(
    () => parsePrices(yaml, "config/prices.yaml"),
    (error) => {
      assert.ok(error instanceof PriceError);
      assert.match(error.message, /^config\/prices\.yaml:8 .*\.to: .*\nconfig\/prices\.yaml:9 .*: has no price/);
      return true;
    },
  );
});

const NOVEMBER = Date.UTC(2026, 10, 20, 12);
/** What the providers' own pages, or others who read them, say that a call costs, in nano-dollars. */
const PUBLISHED: readonly [sentence: string, call: Partial<PricedCall>, nanoUsd: number][] = [
  ["Opus 5.5", { provider: "anthropic", model: "claude-opus-5-5", units: { input: 5_000, output: 800 } }, 36_000_000],
  [
    "Opus 5.5 in a batch",
    { provider: "anthropic", model: "claude-opus-5-5", tier: "batch", units: { input: 5_000, output: 800 } },
    18_000_000,
  ],
  [
    "Haiku 5.5, long",
    { provider: "anthropic", model: "claude-haiku-5-5", units: { input: 1, cached_input: 100_000, output: 10 } },
    500 + 5_000_000 + 25_000,
  ],
  [
    "a search by Sonnet",
    { provider: "anthropic", model: "claude-sonnet-4-5-20250929", units: { web_search: 1_000 } },
    10_000_000_000,
  ],
  [
    "an hour's cache of Sonnet",
    { provider: "anthropic", model: "claude-sonnet-4-6", units: { cache_write_1h: 1_000_000 } },
    6_000_000_000,
  ],
  [
    "a dated snapshot",
    { provider: "openai", model: "gpt-4o-2024-08-06", units: { input: 1_000_000, output: 1_000_000 } },
    12_500_000_000,
  ],
  [
    "the snapshot that differs",
    { provider: "openai", model: "gpt-4o-2024-05-13", units: { input: 1_000_000, output: 1_000_000 } },
    20_000_000_000,
  ],
  ["reasoning", { provider: "openai", model: "o3", units: { reasoning: 1_000_000 } }, 8_000_000_000],
  ["speech to text", { provider: "openai", model: "whisper-1", units: { second: 90 } }, 9_000_000],
  ["text to speech", { provider: "openai", model: "tts-1", units: { character: 1_000_000 } }, 15_000_000_000],
  ["a long prompt to Gemini", { provider: "gemini", model: "gemini-2.5-pro", units: { input: 300_000 } }, 750_000_000],
  [
    "audio to Gemini",
    { provider: "gemini", model: "gemini-2.5-flash", units: { input_audio: 1_000_000 } },
    1_000_000_000,
  ],
  ["an hour at Groq", { provider: "groq", model: "whisper-large-v3", units: { second: 3_600 } }, 111_000_000],
  [
    "DeepSeek off-peak",
    { provider: "deepseek", model: "deepseek-flash", units: { cached_input: 1_000_000 } },
    3_000_000,
  ],
  [
    "DeepSeek at peak",
    {
      provider: "deepseek",
      model: "deepseek-flash",
      units: { cached_input: 1_000_000 },
      atMs: NOVEMBER - 4 * 3_600_000,
    },
    6_000_000,
  ],
  ["Grok from 200 000 on", { provider: "xai", model: "grok-4.7", units: { input: 200_000 } }, 800_000_000],
  ["FMP", { provider: "fmp", model: null, units: { request: 1, byte: 1e6 } }, 0],
];

test("the sample table prices calls as the providers do", async (t) => {
  for (const [sentence, call, nanoUsd] of PUBLISHED) {
    await t.test(sentence, () => {
      const cost = costOf(sample, { provider: "", model: null, tier: null, units: {}, atMs: NOVEMBER, ...call });
      assert.deepEqual([cost.nanoUsd, cost.unpriced], [nanoUsd, []]);
    });
  }
});

test("prices that are announced take effect by themselves", () => {
  const argon = (atMs: number) => {
    const units = { output: 1_000_000 };
    return costOf(sample, { provider: "gemini", model: "gemini-4-argon", tier: null, units, atMs }).nanoUsd / 1e9;
  };
  assert.deepEqual([argon(Date.UTC(2026, 11, 1) - 1), argon(Date.UTC(2026, 11, 1))], [10, 20]);
});

test("every provider of the sample table is in the catalog, and says that its prices have to be checked", () => {
  const catalog = loadCatalog(join(CONFIG, "providers"));
  assert.deepEqual(
    [...sample.providers.keys()].filter((id) => !catalog.providers.has(id)),
    [],
  );
  assert.match(SAMPLE, /CHECK THESE PRICES BEFORE YOU RELY ON THEM/);
});

test("the names of the sample table are those that answers carry: no fallback reaches another model", () => {
  const unknown = ["gpt-4o-realtime-preview", "gpt-6.3-sol", "claude-opus-6", "gemini-2.5-flash-image", "grok-4", "o4"];
  for (const [index, provider] of ["openai", "openai", "anthropic", "gemini", "xai", "openai"].entries()) {
    const model = unknown[index] ?? "";
    const { unpriced } = costOf(sample, { provider, model, tier: null, units: { input: 1 }, atMs: NOVEMBER });
    assert.deepEqual(unpriced, ["input"], model);
  }
});

import { z } from "zod";
import { UNITS, type Unit } from "../providers/usage/usage.ts";
import { compileModelPattern, MODEL_PATTERN } from "./model-pattern.ts";
import { HOURS_PATTERN, parseHours } from "./price-hours.ts";
import { INSTANT_PATTERN, PRICE_PATTERN, parseInstant, parseNano, parsePrice, priceHint } from "./price-value.ts";
import { list, object, parsed, routeId } from "./schema-value.ts";

/**
 * prices.yaml as it is written. Every leaf is checked here, so that one load reports all of them together; what
 * takes two places of the file to see (overlaps, missing rates) is checked in price-compile.ts.
 */

/** A decimal, unquoted and quoted. `parse` throws sentences, which become the problem; `pattern` is for editors. */
function decimalForms(parse: (value: string | number) => unknown, pattern: RegExp) {
  const check = (value: string | number, context: z.RefinementCtx): void => {
    try {
      parse(value);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      context.addIssue({ code: "custom", message, continue: false });
    }
  };
  return [
    z.number().superRefine(check).meta({ minimum: 0 }),
    z.string().superRefine(check).meta({ pattern: pattern.source }),
  ] as const;
}

function decimal(what: string, forms: ReturnType<typeof decimalForms>) {
  return z.union(forms, { error: `must be ${what}` }).meta({ description: what });
}

function price(unit: Unit) {
  return decimal(
    priceHint(unit),
    decimalForms((value) => parsePrice(unit, value), PRICE_PATTERN),
  ).optional();
}

/** Spelled out, so that each price has its type. */
const unitPrices = {
  input: price("input"),
  cached_input: price("cached_input"),
  cache_write: price("cache_write"),
  cache_write_1h: price("cache_write_1h"),
  input_audio: price("input_audio"),
  input_image: price("input_image"),
  output: price("output"),
  reasoning: price("reasoning"),
  output_audio: price("output_audio"),
  output_image: price("output_image"),
  request: price("request"),
  byte: price("byte"),
  credit: price("credit"),
  image: price("image"),
  character: price("character"),
  second: price("second"),
  web_search: price("web_search"),
  tool_call: price("tool_call"),
} satisfies Record<Unit, unknown>;

const POSITIVE = /^(?=.*[1-9])[0-9]{1,7}(?:\.[0-9]{1,9})?$/;

function positiveForms(what: string) {
  return decimalForms((value) => {
    if (parseNano(value, what) === 0n) throw new Error(`is 0; write ${what}`);
  }, POSITIVE);
}

const FACTOR = "a factor above 0, such as 0.5";
const RATE = "dollars for one, such as 1.0834";
const factorForms = positiveForms(FACTOR);
const instant = parsed(
  "a day or a time in UTC, such as 2026-08-16 or 2026-08-16T16:00Z",
  parseInstant,
  INSTANT_PATTERN,
);

/** Most tokens that a model can be said to read or write. */
const MAX_TOKENS = 1_000_000_000;
const tokens = z
  .int({ error: `must be a whole number of tokens from 1 to ${MAX_TOKENS}` })
  .min(1, "must be 1 or more")
  .max(MAX_TOKENS, `must be ${MAX_TOKENS} at most`);

const step = object({ tokens, ...unitPrices }, "{ tokens: 200000, input: 4, output: 18 }");
const steps = list(step, "prices for long requests, such as [{ tokens: 200000, input: 4, output: 18 }]");

const tierPrices = object({ ...unitPrices, above: steps.optional() }, "{ input: 1.25, output: 5 }");
const tierName = parsed(
  "lower-case letters, digits, - and _, such as batch",
  (text) => {
    if (!/^[a-z][a-z0-9_-]{0,31}$/.test(text)) {
      throw new Error(`"${text.slice(0, 40)}" is not a tier's name; write it as the provider does, such as batch`);
    }
  },
  /^[a-z][a-z0-9_-]{0,31}$/,
);

const peak = object(
  {
    hours: list(parsed("hours in UTC, such as mon-fri 01:00-04:00", parseHours, HOURS_PATTERN), "hours in UTC"),
    factor: decimal(FACTOR, factorForms),
  },
  "{ hours: [mon-fri 01:00-04:00], factor: 2 }",
);

const period = object(
  {
    from: instant,
    to: instant.optional(),
    maxOutput: tokens.optional(),
    ...unitPrices,
    above: steps.optional(),
    tiers: z
      .record(
        tierName,
        z.union([...factorForms, tierPrices], {
          error: "must be a factor, such as 0.5, or prices, such as { input: 1.25 }",
        }),
        { error: "must be a map of tiers, such as { batch: 0.5 }" },
      )
      .optional(),
    peak: peak.optional(),
  },
  "{ from: 2026-01-01, input: 2.50, output: 10 }",
);

const model = object(
  {
    names: list(parsed("a model's name, or a pattern such as gpt-4o-20*", compileModelPattern, MODEL_PATTERN), "names"),
    prices: list(period, "prices, such as [{ from: 2026-01-01, input: 2.50, output: 10 }]"),
  },
  "{ names: [gpt-4o, gpt-4o-20*], prices: [{ from: 2026-01-01, input: 2.50, output: 10 }] }",
);

const currency = parsed(
  "three capitals, such as EUR",
  (text) => {
    if (!/^[A-Z]{3}$/.test(text)) throw new Error(`"${text.slice(0, 40)}" is not a currency; write three capitals`);
  },
  /^[A-Z]{3}$/,
);

const rate = object({ from: instant, usd: decimal(RATE, positiveForms(RATE)) }, "{ from: 2026-01-01, usd: 1.0834 }");

const provider = object(
  {
    flat: z.literal(true, { error: "must be true, or left out" }).optional(),
    currency: currency.optional(),
    models: list(model, "models with their prices").optional(),
  },
  "{ models: [...] }, or { flat: true }",
).superRefine(({ flat, models, currency: code }, context) => {
  const refuse = (message: string, ...path: string[]) => context.addIssue({ code: "custom", path, message });
  if (flat === undefined && models === undefined)
    refuse("says no price; write models, or flat: true for a subscription");
  if (flat !== undefined && models !== undefined) refuse("does not go with models; remove one of them", "flat");
  if (flat !== undefined && code !== undefined) refuse("does not go with flat: true; remove it", "currency");
});

export const pricesFile = object(
  {
    version: z.literal(1, { error: "must be 1, the only version there is" }),
    table: parsed(
      "a name of this table, such as its day",
      (text) => {
        if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/.test(text)) {
          throw new Error(`"${text.slice(0, 60)}" is not a table's name; write its day, such as 2026-11-28`);
        }
      },
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/,
    ),
    currencies: z
      .record(currency, list(rate, "rates to the dollar, such as [{ from: 2026-01-01, usd: 1.0834 }]"), {
        error: "must be a map of currencies, such as { EUR: [{ from: 2026-01-01, usd: 1.0834 }] }",
      })
      .optional(),
    providers: z.record(routeId, provider, { error: "must be a map of providers, such as { fmp: { flat: true } }" }),
  },
  "version, table and providers",
);

export type PricesFile = z.infer<typeof pricesFile>;
export type ProviderFile = PricesFile["providers"][string];
export type ModelFile = NonNullable<ProviderFile["models"]>[number];
export type PeriodFile = ModelFile["prices"][number];
export type StepFile = NonNullable<PeriodFile["above"]>[number];
export type TierFile = NonNullable<PeriodFile["tiers"]>[string];
export type RateFile = NonNullable<PricesFile["currencies"]>[string][number];
/** What is written for units; the other keys of its place are not looked at. */
export type WrittenPrices = Readonly<Partial<Record<Unit, string | number | undefined>>>;

/** The units that a place of the file has prices for. */
export function writtenUnits(prices: WrittenPrices): Unit[] {
  return UNITS.filter((unit) => prices[unit] !== undefined);
}

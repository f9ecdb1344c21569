import { MAX_COUNT } from "./reported.ts";
import type { RequestFacts, Unit, Units, UsageFigure, UsageReader } from "./usage.ts";
import { UNITS } from "./usage.ts";

/** Bytes of text in a token, about: English and code in the tokenizers of the large models. */
const BYTES_PER_TOKEN = 4;

/** Whole numbers between 0 and the most that one call can use; what was not used is left out. One request always is. */
export function unitsOf(counts: Readonly<Partial<Record<Unit, number>>>): Units {
  const units: Partial<Record<Unit, number>> = { request: 1 };
  for (const unit of UNITS) {
    const count = counts[unit] ?? 0;
    if (count > 0) units[unit] = Math.min(Math.ceil(count), MAX_COUNT);
  }
  return units;
}

export function tokensInBytes(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN);
}

/** What is left out of the figure is as for a call that used one request and nothing else. */
export function figureOf(facts: RequestFacts, told: Partial<UsageFigure>): UsageFigure {
  return {
    model: facts.model,
    tier: null,
    units: { request: 1 },
    quality: "none",
    partial: false,
    charged: null,
    failure: null,
    ...told,
  };
}

/** An estimate is never more than the request allowed: a broken answer may be of any length. */
export function withinAllowed(figure: UsageFigure, { atMost }: Pick<RequestFacts, "atMost">): UsageFigure {
  const most = atMost?.output;
  if (figure.quality !== "estimated" || most === undefined || (figure.units.output ?? 0) <= most) return figure;
  return { ...figure, units: { ...figure.units, output: most } };
}

/** For answers that used nothing: errors, and calls that are not billed. */
export function unbilledReader(facts: RequestFacts): UsageReader {
  return { data: () => undefined, end: () => figureOf(facts, {}) };
}

import type { LimitKind } from "./limit-kind.ts";
import { type AnswerClock, type LimitFields, type LimitWindow, limitWindow } from "./limit-window.ts";
import { type TimeFormat, toldTime, wholeNumber } from "./told-time.ts";

/** Names of the fields that tell of one limit. */
interface Triplet {
  readonly kind: LimitKind;
  readonly limit: string;
  readonly remaining: string;
  readonly reset: string | null;
}

/*
 * OpenAI, and who speaks like it: Groq, xAI, Azure. Resets are Go durations, at Azure whole seconds; Azure says -1 for
 * what it does not know. Groq counts requests per day and tokens per minute in the same fields, so no period is read
 * into them.
 */
const OPENAI: readonly Triplet[] = (["requests", "tokens", "project-tokens"] as const).map((name) => ({
  kind: name === "requests" ? "requests" : "tokens",
  limit: `x-ratelimit-limit-${name}`,
  remaining: `x-ratelimit-remaining-${name}`,
  reset: `x-ratelimit-reset-${name}`,
}));

const ANTHROPIC: readonly Triplet[] = (["requests", "tokens", "input_tokens", "output_tokens"] as const).map((kind) => {
  const name = `anthropic-ratelimit-${kind.replace("_", "-")}`;
  return { kind, limit: `${name}-limit`, remaining: `${name}-remaining`, reset: `${name}-reset` };
});

/** Current names first; the older ones count the same tokens. */
const MISTRAL: readonly Triplet[] = [
  mistral("requests_per_minute", "x-ratelimit", "req-minute"),
  mistral("tokens_per_minute", "x-ratelimit", "tokens-minute"),
  mistral("tokens_per_month", "x-ratelimit", "tokens-month"),
  mistral("tokens_per_minute", "x-ratelimitbysize", "minute"),
  mistral("tokens_per_month", "x-ratelimitbysize", "month"),
  {
    kind: "tokens_per_minute",
    limit: "ratelimitbysize-limit",
    remaining: "ratelimitbysize-remaining",
    reset: "ratelimitbysize-reset",
  },
];

function mistral(kind: LimitKind, prefix: string, suffix: string): Triplet {
  return { kind, limit: `${prefix}-limit-${suffix}`, remaining: `${prefix}-remaining-${suffix}`, reset: null };
}

export function openAiLimits(fields: LimitFields, clock: AnswerClock): LimitWindow[] {
  return read(OPENAI, fields, clock, null);
}

export function anthropicLimits(fields: LimitFields, clock: AnswerClock): LimitWindow[] {
  return read(ANTHROPIC, fields, clock, "rfc3339");
}

export function mistralLimits(fields: LimitFields, clock: AnswerClock): LimitWindow[] {
  const windows = new Map<LimitKind, LimitWindow>();
  for (const window of read(MISTRAL, fields, clock, "seconds")) {
    if (!windows.has(window.kind)) windows.set(window.kind, window);
  }
  return [...windows.values()];
}

function read(
  triplets: readonly Triplet[],
  { field }: LimitFields,
  clock: AnswerClock,
  format: TimeFormat | null,
): LimitWindow[] {
  return triplets.flatMap(({ kind, limit, remaining, reset }) => {
    const told = {
      limit: wholeNumber(field(limit)),
      remaining: wholeNumber(field(remaining)),
      reset: reset === null ? null : toldTime(field(reset), format),
    };
    return limitWindow(kind, told, clock) ?? [];
  });
}

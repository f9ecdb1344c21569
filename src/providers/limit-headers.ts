import { type AnswerClock, answerClock, isStored, type LimitFields, type LimitWindow } from "./limits/limit-window.ts";
import { binanceLimits, namedLimits, standardLimits } from "./limits/market-limits.ts";
import { anthropicLimits, mistralLimits, openAiLimits } from "./limits/model-limits.ts";
import { retryTime } from "./limits/retry-time.ts";
import type { LimitHeaders } from "./schema.ts";

/** Limits of one answer that are looked at. */
const MAX_WINDOWS = 16;
/** Longest text that a usage record keeps of them, in characters. */
const MAX_RECORD = 500;

/** What one answer tells of its provider's limits. Times are ms since the epoch, on our clock. */
export interface ProviderLimits {
  /** At most 16, one per kind. */
  readonly windows: readonly LimitWindow[];
  /** When the provider wants to be asked again, at most an hour away; null when it does not say. */
  readonly retryAtMs: number | null;
  /** It wants to be left alone for longer than that hour. */
  readonly capped: boolean;
}

export interface LimitAnswer extends LimitFields {
  readonly status: number;
  /** The first bytes of the body of a refusal, decoded, at most 16 KiB; null when they are not known. */
  readonly body: Buffer | null;
  /** When the answer came. */
  readonly nowMs: number;
}

const READERS: Readonly<
  Record<
    LimitHeaders["dialect"],
    (fields: LimitFields, clock: AnswerClock, rules: LimitHeaders | null) => LimitWindow[]
  >
> = {
  standard: standardLimits,
  fields: namedLimits,
  openai: openAiLimits,
  anthropic: anthropicLimits,
  mistral: mistralLimits,
  binance: binanceLimits,
};

/**
 * Reads the provider's limits from an answer. Never throws: what cannot be read, or contradicts itself, is as if it
 * had not been told.
 * @param rules how the catalog says that this provider tells them; null for the fields that need no telling
 */
export function readLimits(rules: LimitHeaders | null, answer: LimitAnswer): ProviderLimits {
  const clock = answerClock(answer, answer.nowMs);
  const told = isStored(answer) ? [] : READERS[rules?.dialect ?? "standard"](answer, clock, rules);
  const windows = tightest(told);
  const retry = answer.status < 400 ? null : retryTime(answer, windows, clock);
  return { windows, retryAtMs: retry?.retryAtMs ?? null, capped: retry?.capped ?? false };
}

/**
 * What a usage record keeps: `{"requests":[500,499,1790000000000]}` (limit, remaining, reset in ms since the epoch), and
 * `retry` with the time to come back. At most 500 characters; null when nothing was told.
 */
export function limitsRecord({ windows, retryAtMs }: ProviderLimits): string | null {
  const told: [string, unknown][] = retryAtMs === null ? [] : [["retry", Math.ceil(retryAtMs)]];
  for (const { kind, limit, remaining, resetAtMs } of windows) told.push([kind, [limit, remaining, resetAtMs]]);
  if (told.length === 0) return null;
  let text = JSON.stringify(Object.fromEntries(told));
  while (text.length > MAX_RECORD) {
    told.pop();
    text = JSON.stringify(Object.fromEntries(told));
  }
  return text;
}

/** Of several limits of one kind the one that is closer to its end. */
function tightest(told: readonly LimitWindow[]): LimitWindow[] {
  const windows = new Map<string, LimitWindow>();
  for (const window of told.slice(0, MAX_WINDOWS)) {
    const before = windows.get(window.kind);
    if (before === undefined || (window.remaining ?? Infinity) < (before.remaining ?? Infinity)) {
      windows.set(window.kind, window);
    }
  }
  return [...windows.values()];
}

import { type ProviderLimits, readLimits } from "../../src/providers/limit-headers.ts";
import type { LimitHeaders } from "../../src/providers/schema.ts";

export interface LimitedProviderOptions {
  /** `window`: all at once at its end, which comes a period after its first request. `bucket`: all the time. */
  readonly refill: "window" | "bucket";
  readonly counts: "requests" | "tokens";
  readonly limit: number;
  readonly periodMs: number;
  readonly dialect: "openai" | "anthropic";
}

export interface LimitedAnswer {
  readonly status: number;
  readonly fields: ReadonlyMap<string, string>;
  /** When the provider wants to be asked again, on its clock; null for a success. */
  readonly retryAtMs: number | null;
}

/** A provider with one limit, as it handles requests one after the other. Its clock is ours. */
export class LimitedProvider {
  refused = 0;
  readonly #options: LimitedProviderOptions;
  #left: number;
  #endsAtMs = 0;
  #filledAtMs = 0;

  constructor(options: LimitedProviderOptions) {
    this.#options = options;
    this.#left = options.limit;
  }

  /** Somebody else uses the key. */
  steal(count: number, nowMs: number): void {
    this.#refill(nowMs);
    this.#left = Math.max(0, this.#left - count);
  }

  /** @param cost tokens of the request, at most the limit; 1 where requests are counted */
  handle(nowMs: number, cost: number): LimitedAnswer {
    this.#refill(nowMs);
    const { limit, periodMs, refill } = this.#options;
    // What is refilled bit by bit adds up only nearly.
    const allowed = this.#left >= cost - 1e-9;
    if (allowed) this.#left -= cost;
    else this.refused += 1;
    const fullAtMs = refill === "window" ? this.#endsAtMs : nowMs + ((limit - this.#left) * periodMs) / limit;
    const nextAtMs = refill === "window" ? this.#endsAtMs : nowMs + ((cost - this.#left) * periodMs) / limit;
    const fields = this.#fields(Math.floor(this.#left), fullAtMs, nowMs);
    if (allowed) return { status: 200, fields, retryAtMs: null };
    const afterS = Math.ceil((nextAtMs - nowMs) / 1000);
    fields.set("retry-after", String(afterS));
    return { status: 429, fields, retryAtMs: nowMs + afterS * 1000 };
  }

  #refill(nowMs: number): void {
    const { limit, periodMs, refill } = this.#options;
    if (refill === "bucket") {
      this.#left = Math.min(limit, this.#left + ((nowMs - this.#filledAtMs) * limit) / periodMs);
      this.#filledAtMs = nowMs;
    } else if (nowMs >= this.#endsAtMs) {
      this.#left = limit;
      this.#endsAtMs = nowMs + periodMs;
    }
  }

  #fields(left: number, fullAtMs: number, nowMs: number): Map<string, string> {
    const { limit, dialect, counts } = this.#options;
    if (dialect === "openai") {
      return new Map([
        [`x-ratelimit-limit-${counts}`, String(limit)],
        [`x-ratelimit-remaining-${counts}`, String(left)],
        [`x-ratelimit-reset-${counts}`, `${Math.ceil(fullAtMs - nowMs)}ms`],
      ]);
    }
    return new Map([
      [`anthropic-ratelimit-${counts}-limit`, String(limit)],
      [`anthropic-ratelimit-${counts}-remaining`, String(left)],
      // In whole seconds, cut off.
      [`anthropic-ratelimit-${counts}-reset`, `${new Date(fullAtMs).toISOString().slice(0, 19)}Z`],
    ]);
  }
}

/** What sidekey reads from an answer that comes in at `nowMs`. */
export function limitsOf(answer: LimitedAnswer, dialect: LimitHeaders["dialect"], nowMs: number): ProviderLimits {
  const field = (name: string) => answer.fields.get(name) ?? null;
  const names = () => answer.fields.keys();
  return readLimits({ dialect }, { field, names, status: answer.status, body: null, nowMs });
}

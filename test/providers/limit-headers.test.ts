import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { loadCatalog } from "../../src/providers/catalog.ts";
import { limitsRecord, type ProviderLimits, readLimits } from "../../src/providers/limit-headers.ts";
import { LIMIT_KINDS } from "../../src/providers/limits/limit-kind.ts";
import { MAX_RESET_MS } from "../../src/providers/limits/limit-window.ts";
import { MAX_HOLD_MS } from "../../src/providers/limits/retry-time.ts";
import type { LimitHeaders } from "../../src/providers/schema.ts";
import { limitFields } from "../support/limit-fields.ts";

const NOW = Date.UTC(2026, 9, 4, 12, 0, 0);
const { providers } = loadCatalog(join(import.meta.dirname, "../../config/providers"));

interface Recorded {
  readonly provider: string;
  readonly lines: string;
  readonly status?: number;
  readonly body?: string;
  /** `kind limit remaining seconds-to-reset`, `-` for unknown. */
  readonly windows: readonly string[];
  readonly retryS?: number;
}

/** One answer at least of every provider that tells its limits. */
const RECORDED: readonly Recorded[] = [
  {
    provider: "alpaca",
    lines: `x-ratelimit-limit: 200\nx-ratelimit-remaining: 0\nx-ratelimit-reset: ${NOW / 1000 + 20}`,
    status: 429,
    windows: ["requests_per_minute 200 0 20.999"],
    retryS: 20.999,
  },
  {
    provider: "alpaca-broker",
    lines: `x-ratelimit-limit: 1000\nx-ratelimit-remaining: 999\nx-ratelimit-reset: ${NOW / 1000 + 1}`,
    windows: ["requests 1000 999 1.999"],
  },
  {
    provider: "anthropic",
    lines: `
      anthropic-ratelimit-requests-limit: 50
      anthropic-ratelimit-requests-remaining: 49
      anthropic-ratelimit-requests-reset: 2026-10-04T12:00:01Z
      retry-after: 13
    `,
    status: 529,
    windows: ["requests 50 49 1.999"],
    retryS: 13,
  },
  {
    provider: "azure-openai",
    lines: "retry-after-ms: 5500\nretry-after: 6\nx-ratelimit-remaining-requests: 79\nx-ratelimit-reset-tokens: 55",
    status: 429,
    windows: ["requests - 79 -"],
    retryS: 5.5,
  },
  {
    provider: "cohere",
    lines: `
      x-endpoint-monthly-call-limit: 1000
      x-trial-endpoint-call-limit: 20
      x-trial-endpoint-call-remaining: 19
    `,
    windows: ["requests_per_minute 20 19 -"],
  },
  {
    provider: "eodhd",
    lines: "X-RateLimit-Limit: 1000\nX-RateLimit-Remaining: 998",
    windows: ["requests_per_minute 1000 998 -"],
  },
  {
    provider: "finnhub",
    lines: `X-Ratelimit-Limit: 60\nX-Ratelimit-Remaining: 59\nX-Ratelimit-Reset: ${NOW / 1000 + 60}`,
    windows: ["requests 60 59 60.999"],
  },
  {
    provider: "gemini",
    lines: "content-type: application/json; charset=UTF-8",
    status: 429,
    body: '{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"52s"}]}}',
    windows: [],
    retryS: 52,
  },
  {
    provider: "groq",
    lines: `
      x-ratelimit-limit-requests: 14400
      x-ratelimit-limit-tokens: 18000
      x-ratelimit-remaining-requests: 14370
      x-ratelimit-remaining-tokens: 17997
      x-ratelimit-reset-requests: 2m59.56s
      x-ratelimit-reset-tokens: 7.66s
    `,
    windows: ["requests 14400 14370 179.56", "tokens 18000 17997 7.66"],
  },
  {
    provider: "hugging-face",
    lines: 'ratelimit: "api";r=0;t=34\nratelimit-policy: "fixed window";"api";q=2500;w=300',
    status: 429,
    windows: ["requests_per_5m 2500 0 34"],
    retryS: 34,
  },
  {
    provider: "mistral",
    lines: "x-ratelimit-limit-req-minute: 720\nx-ratelimit-remaining-req-minute: 717",
    windows: ["requests_per_minute 720 717 -"],
  },
  {
    provider: "nasdaq-data-link",
    lines: "X-RateLimit-Limit: 50000\nX-RateLimit-Remaining: 9",
    windows: ["requests 50000 9 -"],
  },
  {
    provider: "openai",
    lines: `
      x-ratelimit-limit-requests: 500
      x-ratelimit-remaining-requests: 499
      x-ratelimit-reset-requests: 120ms
      x-ratelimit-limit-tokens: 30000
      x-ratelimit-remaining-tokens: 29996
      x-ratelimit-reset-tokens: 8ms
    `,
    windows: ["requests 500 499 0.12", "tokens 30000 29996 0.008"],
  },
  {
    provider: "openrouter",
    lines: `X-RateLimit-Limit: 20\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: ${NOW + 41_000}`,
    status: 429,
    windows: ["requests 20 0 41"],
    retryS: 41,
  },
  {
    provider: "taapi",
    lines: "",
    status: 429,
    body: '{"error":{"maxHitsAllowed":"1","maxHitsTimeframe":"15 seconds","blockTime":"1020 seconds"}}',
    windows: [],
    retryS: 1020,
  },
  {
    provider: "tradier",
    lines: `
      X-Ratelimit-Allowed: 120
      X-Ratelimit-Used: 15
      X-Ratelimit-Available: 105
      X-Ratelimit-Expiry: ${NOW + 44_000}
    `,
    windows: ["requests_per_minute 120 105 44"],
  },
  {
    provider: "twelve-data",
    lines: "api-credits-used: 7\napi-credits-left: 1",
    windows: ["credits_per_minute 8 1 -"],
  },
  {
    provider: "xai",
    lines: "x-ratelimit-limit-requests: 480\nx-ratelimit-remaining-requests: 479",
    windows: ["requests 480 479 -"],
  },
  // Nothing is known of how they tell their limits.
  { provider: "fmp", lines: "content-type: application/json", status: 429, windows: [] },
  { provider: "polygon", lines: "retry-after: 12", status: 429, windows: [], retryS: 12 },
];

function told({ windows }: ProviderLimits): string[] {
  return windows.map(({ kind, limit, remaining, resetAtMs }) => {
    const reset = resetAtMs === null ? "-" : (resetAtMs - NOW) / 1000;
    return `${kind} ${limit ?? "-"} ${remaining ?? "-"} ${reset}`;
  });
}

for (const { provider, lines, status = 200, body = null, windows, retryS } of RECORDED) {
  test(`${provider} (${status}): its limits as its catalog file reads them`, () => {
    const found = providers.get(provider);
    assert.ok(found);
    const bytes = body === null ? null : Buffer.from(body);
    const limits = readLimits(found.limitHeaders, { ...limitFields(lines), status, body: bytes, nowMs: NOW });
    assert.deepEqual(told(limits), windows);
    assert.equal(limits.retryAtMs, retryS === undefined ? null : NOW + retryS * 1000);
  });
}

test("every provider whose file speaks of limit headers has a recorded answer here", () => {
  const recorded = new Set(RECORDED.map(({ provider }) => provider));
  const missing = [...providers.values()].filter(({ id, limitHeaders }) => limitHeaders !== null && !recorded.has(id));
  assert.deepEqual(
    missing.map(({ id }) => id),
    [],
  );
});

test("a clock that is wrong by minutes does not move a reset; spans are not touched", () => {
  const lines = `
    date: Sun, 04 Oct 2026 12:10:00 GMT
    anthropic-ratelimit-requests-limit: 50
    anthropic-ratelimit-requests-remaining: 1
    anthropic-ratelimit-requests-reset: 2026-10-04T12:10:20.500Z
    retry-after: 7
  `;
  const limits = readLimits({ dialect: "anthropic" }, { ...limitFields(lines), status: 429, body: null, nowMs: NOW });
  assert.deepEqual(told(limits), ["requests 50 1 20.5"]);
  assert.equal(limits.retryAtMs, NOW + 7_000);
});

test("an answer from a cache says nothing of limits, a success nothing of when to come back", () => {
  const lines = "x-ratelimit-limit: 5\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 9\nretry-after: 9";
  const read = (more: string, status: number) =>
    readLimits(null, { ...limitFields(`${lines}\n${more}`), status, body: null, nowMs: NOW });
  assert.deepEqual(read("age: 30", 200), { windows: [], retryAtMs: null, capped: false });
  assert.equal(read("", 200).retryAtMs, null);
  assert.equal(read("", 200).windows.length, 1);
});

test("of two limits of one kind the tighter one is told", () => {
  const lines = `
    x-ratelimit-remaining-tokens: 900
    x-ratelimit-remaining-project-tokens: 20
  `;
  const limits = readLimits({ dialect: "openai" }, { ...limitFields(lines), status: 200, body: null, nowMs: NOW });
  assert.deepEqual(told(limits), ["tokens - 20 -"]);
});

test("a usage record keeps what was told, in bounded length", () => {
  const window = { kind: "requests", limit: 500, remaining: 499, resetAtMs: NOW + 12 } as const;
  const none = { windows: [], retryAtMs: null, capped: false };
  assert.equal(limitsRecord(none), null);
  assert.equal(limitsRecord({ ...none, windows: [window] }), `{"requests":[500,499,${NOW + 12}]}`);
  assert.equal(
    limitsRecord({ windows: [{ ...window, limit: null, resetAtMs: null }], retryAtMs: NOW + 0.5, capped: true }),
    `{"retry":${NOW + 1},"requests":[null,499,null]}`,
  );
  const many = LIMIT_KINDS.map((kind) => ({ ...window, kind, limit: 1e15, remaining: 1e15 }));
  const text = limitsRecord({ ...none, windows: many }) ?? "";
  assert.ok(text.length <= 500 && text.length > 400, text);
  assert.deepEqual(JSON.parse(text).requests, [1e15, 1e15, NOW + 12]);
});

const NAMES = [
  "date",
  "age",
  "retry-after",
  "retry-after-ms",
  "ratelimit",
  "ratelimit-policy",
  "ratelimit-limit",
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-ratelimit-reset",
  "x-ratelimit-remaining-requests",
  "x-ratelimit-reset-requests",
  "x-ratelimit-limit-tokens",
  "anthropic-ratelimit-requests-remaining",
  "anthropic-ratelimit-requests-reset",
  "x-ratelimit-remaining-req-minute",
  "x-mbx-used-weight-1m",
  "x-mbx-order-count-999d",
];
const VALUES = [
  "-1",
  "0",
  "1e9",
  "inf",
  "NaN",
  "31536000",
  "99999999999999999999999",
  "12ms",
  "9999h",
  "2026-10-04T12:00:30Z",
  "9999-12-31T23:59:59Z",
  "0000-00-00T00:00:00Z",
  "Sun, 06 Nov 1994 08:49:37 GMT",
  "Fri, 31 Dec 9999 23:59:59 GMT",
  '"a";r=1;t=1',
  "5, 5",
  "",
  "x".repeat(5_000),
];
const RULES: readonly (LimitHeaders | null)[] = [
  null,
  { dialect: "standard", resetAs: "epoch-ms" },
  { dialect: "openai" },
  { dialect: "anthropic" },
  { dialect: "mistral" },
  { dialect: "binance", quotas: { weight_per_minute: 5 } },
  { dialect: "fields", remaining: "x-ratelimit-remaining", used: "x-ratelimit-limit", reset: "x-ratelimit-reset" },
];

test("whatever a provider sends: never an error, always bounded", () => {
  const value = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...VALUES) }, fc.string({ maxLength: 40 }));
  const fields = fc.dictionary(fc.constantFrom(...NAMES), value);
  fc.assert(
    fc.property(
      fields,
      fc.constantFrom(...RULES),
      fc.constantFrom(200, 429, 503),
      fc.uint8Array({ maxLength: 64 }),
      (sent, rules, status, body) => {
        const field = (name: string) => sent[name] ?? null;
        const names = () => Object.keys(sent);
        const limits = readLimits(rules, { field, names, status, body: Buffer.from(body), nowMs: NOW });
        assert.ok(limits.windows.length <= 16);
        assert.equal(new Set(limits.windows.map(({ kind }) => kind)).size, limits.windows.length);
        for (const window of limits.windows) {
          assert.ok(LIMIT_KINDS.includes(window.kind));
          for (const count of [window.limit, window.remaining])
            assert.ok(count === null || (count >= 0 && count <= 2e15));
          const { resetAtMs } = window;
          assert.ok(resetAtMs === null || (resetAtMs >= NOW && resetAtMs <= NOW + MAX_RESET_MS));
        }
        const { retryAtMs } = limits;
        assert.ok(retryAtMs === null || (retryAtMs >= NOW && retryAtMs <= NOW + MAX_HOLD_MS));
      },
    ),
    { numRuns: 5000, seed: 7 },
  );
});

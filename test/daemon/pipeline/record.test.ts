import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestLine } from "../../../src/daemon/log.ts";
import type { EndedRequest } from "../../../src/daemon/metrics-traffic.ts";
import type { Outcome } from "../../../src/daemon/pipeline/exchange.ts";
import { recordOutcome } from "../../../src/daemon/pipeline/record.ts";
import { NOTHING_SPENT } from "../../../src/daemon/pipeline/settle.ts";
import type { UsageFigure } from "../../../src/providers/usage/usage.ts";
import type { UsageRecord } from "../../../src/store/usage-record.ts";

const outcome: Outcome = {
  id: "p-1",
  atMs: 1_700_000_000_000,
  form: "connect",
  method: "GET",
  host: "api.example.test",
  path: "/v1/quote",
  client: "app",
  user: "u-7",
  route: "fmp",
  provider: "fmp",
  credential: "fmp-main",
  version: 3,
  status: 200,
  outcome: "ok",
  reason: null,
  bytesUp: 10,
  bytesDown: 20,
  totalMs: 50.5,
  upstreamMs: 40,
  waitMs: 10,
  attempts: 1,
  ...NOTHING_SPENT,
  scrubbed: 0,
};

interface Recorded {
  usage: UsageRecord;
  line: RequestLine;
  ended: EndedRequest;
  denied: string[];
}

function recorded(changes: Partial<Outcome> = {}): Recorded {
  const usage: UsageRecord[] = [];
  const lines: RequestLine[] = [];
  const ended: EndedRequest[] = [];
  const denied: string[] = [];
  recordOutcome(
    { ...outcome, ...changes },
    {
      usage: { record: (record) => void usage.push(record) },
      log: { request: (line) => void lines.push(line) },
      metrics: { requestEnded: (request) => void ended.push(request), denied: (reason) => void denied.push(reason) },
    },
  );
  assert.deepEqual([usage.length, lines.length, ended.length], [1, 1, 1]);
  return {
    usage: usage[0] ?? assert.fail(),
    line: lines[0] ?? assert.fail(),
    ended: ended[0] ?? assert.fail(),
    denied,
  };
}

test("G12 one-outcome: an exchange leaves one usage record, one log line and one count, saying the same", () => {
  const { usage, line, ended, denied } = recorded();
  assert.deepEqual(denied, []);
  assert.equal(usage.overheadMs, 0.5);
  assert.equal(usage.denied, false);
  assert.equal(usage.error, false);
  assert.deepEqual(line, {
    id: "p-1",
    client: "app",
    user: "u-7",
    form: "connect",
    method: "GET",
    host: "api.example.test",
    path: "/v1/quote",
    route: "fmp",
    credential: "fmp-main",
    version: 3,
    status: 200,
    outcome: "ok",
    code: null,
    bytes_up: 10,
    bytes_down: 20,
    ms: 50.5,
    upstream_ms: 40,
    overhead_ms: 0.5,
    wait_ms: 10,
    model: null,
    tokens_in: null,
    tokens_out: null,
    cost_usd: null,
    unpriced: false,
    usage: null,
    attempts: 1,
    scrubbed: 0,
  });
  assert.deepEqual(ended, {
    route: "fmp",
    client: "app",
    credential: "fmp-main",
    outcome: "ok",
    totalMs: 50.5,
    overheadMs: 0.5,
    upstreamMs: 40,
    tokens: null,
    costNano: null,
    unpriced: false,
    estimated: false,
    scrubbed: 0,
  });
  assert.deepEqual([usage.units, usage.quality, usage.costNano, usage.partial], [null, "none", null, false]);
});

const figure: UsageFigure = {
  model: "gpt-4o-mini",
  tier: "flex",
  units: { request: 1, input: 100, cached_input: 40, cache_write_1h: 3, output: 20, output_audio: 2, reasoning: 5 },
  quality: "exact",
  partial: true,
  charged: null,
  failure: "as the provider words it: canary",
};

test("what an answer used is said the same in all three traces, and the provider's own words in none", () => {
  const { usage, line, ended } = recorded({
    operation: "chat",
    usage: figure,
    costNano: 1_234_500,
    priceTable: "2025-05-01",
    limits: "{}",
    meaning: "ok",
    scrubbed: 2,
    attempts: 3,
  });
  const tokens = { input: 100, cachedInput: 40, cacheWrite: 3, output: 22, reasoning: 5 };
  assert.partialDeepStrictEqual(usage, {
    operation: "chat",
    model: "gpt-4o-mini",
    tier: "flex",
    tokens,
    units: figure.units,
    quality: "exact",
    partial: true,
    costNano: 1_234_500,
    unpriced: false,
    priceTable: "2025-05-01",
    limits: "{}",
    meaning: "ok",
    scrubbed: 2,
  });
  assert.partialDeepStrictEqual(line, {
    model: "gpt-4o-mini",
    tokens_in: 143,
    tokens_out: 27,
    cost_usd: "0.0012345",
    unpriced: false,
    usage: "exact",
    attempts: 3,
    scrubbed: 2,
  });
  const counted = { tokens, costNano: 1_234_500, unpriced: false, estimated: false, scrubbed: 2 };
  assert.partialDeepStrictEqual(ended, counted);
  assert.ok(!JSON.stringify([usage, line, ended]).includes("canary"));
});

test("an estimate and a missing price are said in all three traces", () => {
  const estimate = { ...figure, quality: "estimated" } as const;
  const { usage, line, ended } = recorded({ usage: estimate, unpriced: true });
  assert.deepEqual([usage.quality, usage.unpriced, usage.costNano], ["estimated", true, null]);
  assert.deepEqual([line.usage, line.unpriced, line.cost_usd], ["estimated", true, null]);
  assert.deepEqual([ended.estimated, ended.unpriced, ended.costNano], [true, true, null]);
});

test("a model of endless length and a cost that is none cannot break the traces", () => {
  const { usage, line, ended } = recorded({ usage: { ...figure, model: "m".repeat(5000) }, costNano: Number.NaN });
  assert.equal(usage.model?.length, 128);
  assert.equal(line.model?.length, 128);
  assert.deepEqual([usage.costNano, line.cost_usd, ended.costNano], [0, "0.00", 0]);
});

test("a refusal counts as denied by its reason, not as an error and not as an injection", () => {
  const { usage, line, ended, denied } = recorded({
    outcome: "not_allowed",
    reason: "path_not_on_route",
    status: 403,
    upstreamMs: null,
    attempts: 0,
  });
  assert.deepEqual(denied, ["path_not_on_route"]);
  assert.equal(usage.denied, true);
  assert.equal(usage.error, false);
  assert.equal(usage.overheadMs, null);
  assert.equal(line.outcome, "not_allowed");
  assert.equal(line.code, "path_not_on_route");
  assert.equal(line.overhead_ms, 40.5);
  assert.equal(ended.credential, null);
});

test("what sidekey could not do is an error; so is a client that left and an answer that was cut", () => {
  for (const code of ["upstream_timeout", "vault_sealed", "internal", "client_closed", "truncated"]) {
    const { usage, denied } = recorded({ outcome: code, status: 0 });
    assert.deepEqual([usage.error, usage.denied, denied], [true, false, []], code);
  }
  assert.deepEqual(recorded({ outcome: "limit_exceeded", reason: null, status: 429 }).denied, ["limit_exceeded"]);
});

test("the provider's refusals and failures are told apart from its answers", () => {
  assert.equal(recorded({ status: 401 }).ended.outcome, "provider_4xx");
  assert.equal(recorded({ status: 503 }).usage.outcome, "provider_5xx");
  assert.equal(recorded({ status: 503 }).usage.error, true);
  assert.equal(recorded({ status: 304 }).line.outcome, "ok");
});

test("a query never gets into the records, and the usage log keeps a bounded path", () => {
  const { usage, line } = recorded({ path: `/${"p".repeat(2000)}?apikey=canary` });
  assert.equal(usage.path.length, 512);
  assert.equal(line.path.length, 2001);
  assert.ok(!JSON.stringify([usage, line]).includes("canary"));
});

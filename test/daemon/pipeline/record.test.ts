import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestLine } from "../../../src/daemon/log.ts";
import type { EndedRequest } from "../../../src/daemon/metrics.ts";
import type { Outcome } from "../../../src/daemon/pipeline/exchange.ts";
import { recordOutcome } from "../../../src/daemon/pipeline/record.ts";
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
  meaning: null,
  bytesUp: 10,
  bytesDown: 20,
  totalMs: 50.5,
  upstreamMs: 40,
  waitMs: 10,
  attempts: 1,
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
  });
  assert.deepEqual(ended, {
    route: "fmp",
    client: "app",
    credential: "fmp-main",
    outcome: "ok",
    totalMs: 50.5,
    overheadMs: 0.5,
    upstreamMs: 40,
  });
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

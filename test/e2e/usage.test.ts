import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { reportUsage } from "../../src/store/usage-query.ts";
import { type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { type StandInHandler, startStandIn } from "../support/stand-in.ts";
import { type FormClient, formClient } from "./form-client.ts";

const TIMEOUT = { timeout: 20_000 };
const JSON_TYPE = { "content-type": "application/json" };

const PRICES = `version: 1
table: test
providers:
  gemini:
    models:
      - { names: ["gemini-t*"], prices: [{ from: 2020-01-01, input: 2, cached_input: 0.5, output: 10 }] }
  anthropic:
    models:
      - { names: [claude-t], prices: [{ from: 2020-01-01, input: 3, cached_input: 0.3, cache_write: 3.75, output: 15 }] }
  fmp: { models: [ { names: ["*"], prices: [{ from: 2020-01-01, request: 10/1k }] } ] }
`;

interface Setup {
  readonly sidekey: RunningSidekey;
  readonly client: FormClient;
}

async function start(
  t: TestContext,
  provider: string,
  host: string,
  handler: StandInHandler,
  more = "",
): Promise<Setup> {
  const standIn = await startStandIn(t, { hostnames: [host], handler });
  const sidekey = await startSidekey(t, {
    policy: `version: 1
clients: { app: { token: true } }
routes:
  one: { provider: ${provider}, hosts: [${host}], credentials: [main], clients: [app]${more} }
`,
    credentials: { main: { provider, hosts: [host], fields: { api_key: `AIzaSy${randomBytes(20).toString("hex")}` } } },
    hosts: { [host]: { port: standIn.port, caPem: standIn.caPem } },
    prices: PRICES,
  });
  return { sidekey, client: formClient(t, "absolute", { ...sidekey, host, route: "one" }) };
}

/** All that `usage` knows of the calls of this run. */
async function totals({ sidekey }: Setup, calls: number) {
  await sidekey.requestsLogged(calls);
  await sidekey.daemon.stop();
  return reportUsage(join(sidekey.dataDir, "usage.db"), { by: "model", sinceMs: 0 }).total;
}

test("Gemini: the model of the path, thoughts as reasoning, and the cost", TIMEOUT, async (t) => {
  const usageMetadata = {
    promptTokenCount: 1000,
    cachedContentTokenCount: 400,
    candidatesTokenCount: 50,
    thoughtsTokenCount: 70,
    totalTokenCount: 1120,
  };
  const part = (text: string, more = {}) => ({
    candidates: [{ content: { parts: [{ text }] } }],
    modelVersion: "gemini-t-001",
    ...more,
  });
  const setup = await start(t, "gemini", "generativelanguage.googleapis.com", ({ target }) =>
    target.includes("stream")
      ? {
          headers: { "content-type": "text/event-stream" },
          body: [part("a"), part("b", { usageMetadata })].map((each) => `data: ${JSON.stringify(each)}\r\n\r\n`),
        }
      : { headers: JSON_TYPE, body: JSON.stringify(part("ab", { usageMetadata })) },
  );
  const body = '{"contents":[{"parts":[{"text":"hello"}]}]}';
  for (const path of ["generateContent", "streamGenerateContent?alt=sse"]) {
    const ask = { method: "POST", path: `/v1beta/models/gemini-t:${path}`, headers: JSON_TYPE, body };
    assert.equal((await setup.client.ask(ask)).status, 200);
  }
  const { tokens, exact, exactNano } = await totals(setup, 2);
  assert.deepEqual([tokens.input, tokens.cachedInput, tokens.output, tokens.reasoning], [1200, 800, 100, 140]);
  assert.deepEqual([exact, exactNano], [2, BigInt(2 * (600 * 2000 + 400 * 500 + 120 * 10_000))]);
});

test("Anthropic: caches apart, and a gzip answer is read as any other", TIMEOUT, async (t) => {
  const usage = { input_tokens: 10, cache_read_input_tokens: 100, cache_creation_input_tokens: 20, output_tokens: 30 };
  const message = { id: "m", type: "message", role: "assistant", model: "claude-t", content: [], usage };
  const setup = await start(t, "anthropic", "api.anthropic.com", () => ({
    headers: { ...JSON_TYPE, "content-encoding": "gzip" },
    body: gzipSync(JSON.stringify(message)),
  }));
  const body = '{"model":"claude-t","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}';
  const ask = { method: "POST", path: "/v1/messages", headers: { ...JSON_TYPE, "accept-encoding": "gzip" }, body };
  assert.equal((await setup.client.ask(ask)).status, 200);
  const { tokens, exactNano } = await totals(setup, 1);
  assert.deepEqual([tokens.input, tokens.cachedInput, tokens.cacheWrite, tokens.output], [10, 100, 20, 30]);
  assert.equal(exactNano, BigInt(10 * 3000 + 100 * 300 + 20 * 3750 + 30 * 15_000));
});

test("a provider that bills by the call: what failed is free, what succeeded costs", TIMEOUT, async (t) => {
  const statuses = [200, 404, 200];
  const setup = await start(t, "fmp", "financialmodelingprep.com", () => {
    return { status: statuses.shift() ?? 200, headers: JSON_TYPE, body: "[]" };
  });
  for (let n = 0; n < 3; n++) await setup.client.ask({ path: "/stable/quote?symbol=AAPL" });
  const { exactNano, requests, errors } = await totals(setup, 3);
  assert.deepEqual([exactNano, requests, errors], [20_000_000n, 3, 1]);
});

test("a model without a price is unpriced, and never free", TIMEOUT, async (t) => {
  const usage = { input_tokens: 10, output_tokens: 30 };
  const body = JSON.stringify({ type: "message", model: "claude-unknown", content: [], usage });
  const setup = await start(t, "anthropic", "api.anthropic.com", () => ({ headers: JSON_TYPE, body }));
  const request = '{"model":"claude-unknown","max_tokens":100,"messages":[]}';
  await setup.client.ask({ method: "POST", path: "/v1/messages", headers: JSON_TYPE, body: request });
  const [line] = await setup.sidekey.requestsLogged(1);
  assert.deepEqual(
    [line?.model, line?.tokens_in, line?.tokens_out, line?.unpriced, line?.cost_usd],
    ["claude-unknown", 10, 30, true, undefined],
  );
  const { unpriced, exactNano } = await totals(setup, 1);
  assert.deepEqual([unpriced, exactNano], [1, 0n]);
});

test(
  "on a route that does not scrub, a coded answer passes as it came, and its usage is an estimate",
  TIMEOUT,
  async (t) => {
    const zipped = gzipSync(
      JSON.stringify({ type: "message", model: "claude-t", usage: { input_tokens: 1, output_tokens: 1 } }),
    );
    const setup = await start(
      t,
      "anthropic",
      "api.anthropic.com",
      () => ({ headers: { ...JSON_TYPE, "content-encoding": "gzip" }, body: zipped }),
      ", response: { scrub: off, tokens: pass }",
    );
    const body = '{"model":"claude-t","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}';
    const ask = { method: "POST", path: "/v1/messages", headers: { ...JSON_TYPE, "accept-encoding": "gzip" }, body };
    const answer = await setup.client.ask(ask);
    assert.deepEqual([answer.values("content-encoding"), answer.body.equals(zipped)], [["gzip"], true]);
    const [line] = await setup.sidekey.requestsLogged(1);
    assert.equal(line?.usage, "estimated");
    assert.ok(Number(line?.tokens_in) > 0 && Number(line?.tokens_out) > 0, JSON.stringify(line));
  },
);

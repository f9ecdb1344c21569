import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { type Call, prepareCall } from "../../../src/daemon/pipeline/call.ts";
import type { ParsedRequest } from "../../../src/daemon/pipeline/exchange.ts";
import { ExchangeState } from "../../../src/daemon/pipeline/exchange-state.ts";
import { NOTHING_KNOWN } from "../../../src/policy/budget.ts";
import { compilePolicy, type Route } from "../../../src/policy/compile.ts";
import { parsePolicy } from "../../../src/policy/parse.ts";
import { NO_PRICES, parsePrices } from "../../../src/policy/price-table.ts";
import { loadCatalog } from "../../../src/providers/catalog.ts";
import { CATALOG_DIR } from "../../support/running-sidekey.ts";
import { incomingTo, RecordingDownstream } from "./recording-downstream.ts";

const CATALOG = loadCatalog(CATALOG_DIR);
const PRICES = parsePrices(
  `version: 1
table: test
providers: { openai: { models: [ { names: [m], prices: [{ from: 2020-01-01, input: 1, output: 1 }] } ] } }
`,
  "prices.yaml",
);
const NOW = Date.UTC(2026, 0, 1);

function routeOf(more: string, provider = "openai", host = "api.openai.com"): Route {
  const text = `version: 1
clients: { app: { token: true } }
routes: { r: { provider: ${provider}, hosts: [${host}], credentials: [main], clients: [app]${more} } }
`;
  const known = { credentials: new Map(), clients: new Set(["app"]) };
  const [route] = compilePolicy(parsePolicy(text, "policy.yaml"), CATALOG, known, "r1").snapshot.routes;
  assert.ok(route);
  return route;
}

interface Scene {
  readonly call: Call | Promise<Call>;
  readonly parsed: ParsedRequest;
  readonly down: RecordingDownstream;
}

function prepared(
  route: Route,
  body: string | Buffer | null,
  prices = PRICES,
  more: Partial<ParsedRequest> = {},
): Scene {
  const down = new RecordingDownstream();
  const fields = ["Content-Type", "application/json"];
  const x = new ExchangeState(incomingTo(down, { method: body === null ? "GET" : "POST", fields }), NOW);
  const path = body === null ? "/v1/models" : "/v1/chat/completions";
  const parsed: ParsedRequest = {
    target: { form: "absolute", host: "api.openai.com", port: 443, path, query: "" },
    body: body === null ? null : Readable.from(chunksOf(Buffer.from(body)), { objectMode: false }),
    bodyLength: null,
    expectContinue: false,
    websocketKey: null,
    ...more,
  };
  return { call: prepareCall(route, x, parsed, null, prices), parsed, down };
}

function chunksOf(bytes: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 64 * 1024) chunks.push(bytes.subarray(at, at + 64 * 1024));
  return chunks;
}

const chat = (more: object): string =>
  JSON.stringify({ model: "m", messages: [{ role: "user", content: "hi" }], ...more });
const BUDGET = ", limits: [{ name: spend, per: [route], usd: 1/day }]";

test("a request without a body is known at once", () => {
  const { call } = prepared(routeOf(""), null);
  assert.ok(!(call instanceof Promise));
  assert.deepEqual([call.body, call.bodyHeld, call.hide, call.ask], [null, true, null, NOTHING_KNOWN]);
});

test("a short body is held as a whole, and tells what the call will use and cost at most", async () => {
  const body = chat({ max_tokens: 500 });
  const { call, down } = prepared(routeOf(BUDGET), body);
  const { ask, facts, bodyHeld, body: held } = await call;
  assert.deepEqual([bodyHeld, held?.toString(), facts.model, facts.operation], [true, body, "m", "chat"]);
  assert.ok(ask.tokens.expected > 0 && (ask.tokens.atMost ?? 0) >= 500, JSON.stringify(ask));
  // A dollar for a million tokens is a thousand nano-dollars for one.
  assert.deepEqual(ask.usd, { expected: ask.tokens.expected * 1000, atMost: (ask.tokens.atMost ?? 0) * 1000 });
  assert.deepEqual(down.calls, []);
});

test("what nothing bounds has no upper bound; what has no price has no amount in dollars", async () => {
  assert.equal((await prepared(routeOf(BUDGET), chat({})).call).ask.tokens.atMost, null);
  assert.equal((await prepared(routeOf(BUDGET), chat({ max_tokens: 5 }), NO_PRICES).call).ask.usd, null);
});

test("without a budget nothing is estimated", async () => {
  const limits = ", limits: [{ name: n, per: [route], requests: 5/s }]";
  assert.equal((await prepared(routeOf(limits), chat({})).call).ask, NOTHING_KNOWN);
});

test("a long body passes on as it comes, not a byte of it lost, and cannot be sent twice", async () => {
  const body = Buffer.from(chat({ max_tokens: 5, user: "x".repeat(3_000_000) }));
  const { call, parsed } = prepared(routeOf(BUDGET), body);
  const { bodyHeld, body: held, facts } = await call;
  assert.deepEqual([bodyHeld, held, facts.model], [false, null, "m"]);
  assert.ok(parsed.body && (await buffer(parsed.body)).equals(body));
});

test("a stream that would not report its usage is asked for it, unless the route does not want that", async () => {
  const { call } = prepared(routeOf(""), chat({ stream: true }));
  const asked = await call;
  assert.equal(JSON.parse(String(asked.body)).stream_options.include_usage, true);
  assert.notEqual(asked.hide, null);
  const off = await prepared(routeOf(", usage: { ask: off }"), chat({ stream: true })).call;
  assert.deepEqual([String(off.body), off.hide], [chat({ stream: true }), null]);
  const own = chat({ stream: true, stream_options: { include_usage: true } });
  const already = await prepared(routeOf(""), own).call;
  assert.deepEqual([String(already.body), already.hide], [own, null]);
});

test("a client that waits for 100 is told to go on only when its body has to be read first", async () => {
  const waiting = { expectContinue: true };
  const read = prepared(routeOf(""), chat({}), PRICES, waiting);
  await read.call;
  assert.deepEqual(read.down.calls, ["continue"]);
  const unread = prepared(routeOf("", "fmp", "financialmodelingprep.com"), "{}", PRICES, waiting);
  await unread.call;
  assert.deepEqual(unread.down.calls, []);
});

test("a provider whose calls all cost the same need not see the body, but a route that tries again holds it", async () => {
  const once = await prepared(routeOf("", "fmp", "financialmodelingprep.com"), "{}").call;
  assert.deepEqual([once.body, once.bodyHeld], [null, false]);
  const again = routeOf(", retry: { attempts: 2, on: [refused] }", "fmp", "financialmodelingprep.com");
  const held = await prepared(again, "{}").call;
  assert.deepEqual([String(held.body), held.bodyHeld], ["{}", true]);
});

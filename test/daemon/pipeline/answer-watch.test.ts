import assert from "node:assert/strict";
import { test } from "node:test";
import { type ReadHead, readHead } from "../../../src/daemon/pipeline/answer-head.ts";
import { AnswerWatch } from "../../../src/daemon/pipeline/answer-watch.ts";
import type { Call } from "../../../src/daemon/pipeline/call.ts";
import { NOTHING_KNOWN } from "../../../src/policy/budget.ts";
import { loadCatalog } from "../../../src/providers/catalog.ts";
import { dialectOf } from "../../../src/providers/usage/dialects.ts";
import { CATALOG_DIR } from "../../support/running-sidekey.ts";

const CATALOG = loadCatalog(CATALOG_DIR);
const NOW = Date.UTC(2026, 0, 1);

function scene(id: string, path: string, request: string | null = null) {
  const provider = CATALOG.providers.get(id);
  assert.ok(provider);
  const dialect = dialectOf(provider);
  const bytes = request === null ? null : Buffer.from(request);
  const facts = dialect.readRequest(
    { method: bytes === null ? "GET" : "POST", path, query: "", contentType: "application/json" },
    bytes === null ? null : { bytes, whole: true, length: bytes.length },
  );
  const call: Call = { dialect, facts, ask: NOTHING_KNOWN, body: bytes, bodyHeld: true, hide: null };
  const told: string[] = [];
  const watch = new AnswerWatch({
    provider,
    call,
    attempt: {
      answered: (meaning, retryAtMs) =>
        told.push(`health ${meaning} ${retryAtMs === null ? "" : retryAtMs - NOW}`.trim()),
      failed: () => told.push("failed"),
      abandoned: () => {},
    },
    pass: {
      waitedMs: 0,
      answered: (status, { windows }) => told.push(`limits ${status} ${windows.map(({ kind }) => kind).join()}`.trim()),
      over: () => {},
      unsent: () => {},
    },
    nowMs: () => NOW,
  });
  return { watch, told };
}

function head(status: number, fields: Readonly<Record<string, string>> = {}, method = "POST"): ReadHead {
  const raw = Object.entries(fields).flatMap(([name, value]) => [Buffer.from(name), Buffer.from(value)]);
  const response = { stripCookies: true, stripAuthenticate: true };
  return readHead(status, "", raw, { method, response, scrub: null });
}

const CHAT = '{"model":"m","messages":[{"role":"user","content":"hello"}]}';
const JSON_TYPE = { "content-type": "application/json" };

test("a good answer is told with its head, before its body", () => {
  const { watch, told } = scene("openai", "/v1/chat/completions", CHAT);
  watch.began(head(200, { ...JSON_TYPE, "x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "9" }));
  assert.deepEqual(told, ["limits 200 requests", "health ok"]);
  assert.equal(watch.limitsText, '{"requests":[10,9,null]}');
});

test("a possible failure is told when its text is known, once", () => {
  const { watch, told } = scene("openai", "/v1/chat/completions", CHAT);
  const limited = head(429, { ...JSON_TYPE, "retry-after": "5" });
  watch.began(limited);
  assert.deepEqual(told, []);
  watch.tap(limited).data(Buffer.from('{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}'));
  const figure = watch.ended(true, 60);
  assert.deepEqual(told, ["limits 429", "health quota 5000"]);
  assert.deepEqual([watch.meaning, figure?.units, figure?.quality], ["quota", { request: 1 }, "none"]);
  watch.ended(true, 60);
  assert.equal(told.length, 2);
});

test("a long failure is judged by its beginning, while it passes", () => {
  const { watch, told } = scene("openai", "/v1/chat/completions", CHAT);
  const failed = head(401, JSON_TYPE);
  watch.began(failed);
  const tap = watch.tap(failed);
  tap.data(Buffer.from('{"error":{"code":"invalid_api_key"'));
  assert.deepEqual(told, []);
  for (let n = 0; n < 5; n++) tap.data(Buffer.alloc(4096, " "));
  assert.deepEqual(told, ["limits 401", "health invalid"]);
});

test("what nobody could read says what its status says to everybody", () => {
  const { watch, told } = scene("openai", "/v1/chat/completions", CHAT);
  watch.began(head(401, JSON_TYPE));
  assert.deepEqual(watch.ended(true, 60)?.quality, "none");
  assert.deepEqual(told, ["limits 401", "health unknown"]);
});

test("without a head nobody knows what was used", () => {
  const { watch } = scene("openai", "/v1/chat/completions", CHAT);
  assert.deepEqual([watch.ended(false, 0), watch.meaning, watch.limitsText], [null, null, null]);
});

test("a good answer that passes unread is what the request said, as an estimate", () => {
  const { watch } = scene("openai", "/v1/chat/completions", CHAT);
  watch.began(head(200, { ...JSON_TYPE, "content-encoding": "gzip" }));
  const figure = watch.ended(true, 500);
  assert.equal(figure?.quality, "estimated");
  assert.ok((figure?.units.input ?? 0) > 0);
});

test("an answer without content costs what it costs: nothing of it was missed", () => {
  const { watch } = scene("openai", "/v1/models");
  watch.began(head(200, JSON_TYPE, "HEAD"));
  assert.equal(watch.ended(true, 0)?.quality, "none");
});

test("bytes are those of the wire, whatever the reader has seen", () => {
  const { watch } = scene("fmp", "/stable/quote");
  const good = head(200, { ...JSON_TYPE, "content-encoding": "gzip" });
  watch.began(good);
  watch.tap(good).data(Buffer.alloc(10_000, " "));
  assert.equal(watch.ended(true, 321)?.units.byte, 321);
});

test("a provider that says with status 200 that it was too much is taken at its word", () => {
  const { watch, told } = scene("alpha-vantage", "/query");
  const good = head(200, JSON_TYPE);
  watch.began(good);
  watch
    .tap(good)
    .data(
      Buffer.from(
        '{"Information":"We have detected your API key and our standard API rate limit is 25 requests per day."}',
      ),
    );
  watch.ended(true, 100);
  assert.match(told.join(), /health (limited|quota)/);
});

test("an upgrade is a good answer of which no usage is known", () => {
  const { watch, told } = scene("openai", "/v1/realtime");
  watch.upgraded();
  assert.deepEqual([told, watch.ended(true, 0), watch.meaning], [["health ok", "limits 101"], null, "ok"]);
});

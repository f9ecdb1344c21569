import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { Incoming, ParsedRequest } from "../../../src/daemon/pipeline/exchange.ts";
import { ExchangeState } from "../../../src/daemon/pipeline/exchange-state.ts";
import { incomingTo, RecordingDownstream } from "./recording-downstream.ts";

const TARGET = { form: "absolute", host: "api.p.test", port: 443, path: "/x", query: "key=1" } as const;

function parsedWith(body: Readable | null): ParsedRequest {
  return { target: TARGET, body, bodyLength: null, expectContinue: false, websocketKey: null };
}

function newExchange(changes: Partial<Incoming> = {}): { x: ExchangeState; down: RecordingDownstream } {
  const down = new RecordingDownstream();
  return { x: new ExchangeState(incomingTo(down, changes), 1_000), down };
}

test("ids are unique and ordered, and say nothing else", () => {
  const ids = Array.from({ length: 100 }, () => newExchange().x.id);
  assert.equal(new Set(ids).size, 100);
  const [first = ""] = ids;
  assert.ok(ids.every((id) => id.startsWith(first.slice(0, 9))));
});

test("a failure before any byte is a problem document; the connection is kept only when it is clean", () => {
  const cases: readonly [ParsedRequest | null, string][] = [
    [null, "close"],
    [parsedWith(null), "keep"],
    [parsedWith(Readable.from(["x"])), "close"],
  ];
  for (const [parsed, connection] of cases) {
    const { x, down } = newExchange();
    x.parsed = parsed;
    x.fail(new ProxyError("not_allowed", "no", { reason: "why" }));
    assert.deepEqual(down.calls, [`head 403 not_allowed ${connection}`, "end"]);
    assert.equal(JSON.parse(Buffer.concat(down.body).toString()).request_id, x.id);
    const { status, outcome, reason } = x.outcome();
    assert.deepEqual([status, outcome, reason], [403, "not_allowed", "why"]);
  }
});

test("HEAD gets the same head and no content", () => {
  const { x, down } = newExchange({ method: "HEAD" });
  x.fail(new ProxyError("no_route", "no"));
  assert.deepEqual([down.calls, down.body.length], [["head 403 no_route close", "end"], 0]);
});

test("an answer that has begun is cut, never completed; its outcome keeps the status that the client saw", () => {
  const { x, down } = newExchange();
  down.headSent = true;
  x.transfer.status = 200;
  x.fail(new ProxyError("upstream_timeout", "slow", { reason: "idle" }));
  assert.deepEqual(down.calls, ["abort"]);
  const { status, outcome, reason } = x.outcome();
  assert.deepEqual([status, outcome, reason], [200, "truncated", "idle"]);
});

test("a client that went away gets nothing, and its outcome says so", () => {
  const { x, down } = newExchange();
  x.fail(new ProxyError("client_closed", "gone"));
  assert.deepEqual(down.calls, ["abort"]);
  assert.deepEqual([x.outcome().status, x.outcome().outcome], [0, "client_closed"]);
});

test("clientGone is one signal, and aborts when the client leaves", () => {
  const { x, down } = newExchange();
  const signal = x.clientGone();
  assert.equal(x.clientGone(), signal);
  assert.equal(signal.aborted, false);
  down.leave();
  assert.equal(signal.aborted, true);
});

test("the outcome tells what was learnt, and the path without its query", () => {
  const empty = newExchange().x.outcome();
  assert.deepEqual(
    [empty.host, empty.path, empty.client, empty.route, empty.credential, empty.upstreamMs, empty.attempts],
    ["", "", null, null, null, null, 0],
  );
  const { x } = newExchange();
  x.parsed = parsedWith(null);
  x.identity = { client: "app", user: "u" };
  x.dispatched();
  const outcome = x.outcome();
  assert.deepEqual(
    [outcome.atMs, outcome.host, outcome.path, outcome.client, outcome.user, outcome.outcome, outcome.attempts],
    [1_000, "api.p.test", "/x", "app", "u", "ok", 1],
  );
  assert.ok(outcome.totalMs >= (outcome.upstreamMs ?? -1) && (outcome.upstreamMs ?? -1) >= 0);
});

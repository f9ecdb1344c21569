import assert from "node:assert/strict";
import { test } from "node:test";
import { eventLine } from "../../../src/cli/commands/requests.ts";

const event = {
  atMs: Date.UTC(2026, 0, 15, 12),
  status: 200,
  outcome: "ok",
  client: "app",
  route: "openai",
  method: "POST",
  host: "api.openai.com",
  path: "/v1/chat/completions",
  totalMs: 812.4,
  usage: null,
  costNano: null,
  unpriced: false,
};
const LINE = "2026-01-15T12:00:00Z  200  ok  app  openai  POST  api.openai.com/v1/chat/completions  812ms";
const usage = {
  model: "gpt-4o-mini",
  units: { request: 1, input: 100, cached_input: 20, output: 7 },
  quality: "exact",
};

test("a request is one line; model, tokens and cost follow when there are any", () => {
  assert.equal(eventLine(event), LINE);
  assert.equal(eventLine({ ...event, usage, costNano: 1_200_000 }), `${LINE}  gpt-4o-mini  120+7 tokens  0.0012 USD`);
  assert.equal(eventLine({ ...event, usage: { ...usage, model: null, units: { request: 1 } }, costNano: 0 }), LINE);
});

test("an estimate says so, and so does what has no price", () => {
  assert.equal(
    eventLine({ ...event, usage: { ...usage, quality: "estimated" }, costNano: 5, unpriced: true }),
    `${LINE}  gpt-4o-mini  about 120+7 tokens  about 0.000000005 USD  unpriced`,
  );
});

test("a daemon of another version may send less or other things, and no name begins a line of its own", () => {
  for (const odd of [{ usage: "x", costNano: 1.5 }, { usage: {}, costNano: "7" }, { usage: { units: 3, model: 4 } }]) {
    assert.equal(eventLine({ ...event, ...odd }), LINE);
  }
  const line = eventLine({ ...event, usage: { ...usage, model: `a\n2026\u001b[2J${"m".repeat(500)}` } });
  assert.match(line, /^[\x20-\x7e]+$/);
  assert.ok(line.length < LINE.length + 200);
  assert.equal(eventLine({}), "-  -  -  -  -  -  -  -");
});

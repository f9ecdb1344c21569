import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonAnswer, startLyingProvider, type Told } from "./lying-provider.ts";

const usage = (text: string): string => `{"object":"chat.completion","model":"gpt-t","choices":[],"usage":${text}}`;
const deep = (depth: number): string => `${"[".repeat(depth)}${"]".repeat(depth)}`;

/** What no figure can be taken from. */
const USELESS: Readonly<Record<string, string>> = {
  negative: usage('{"prompt_tokens":-5,"completion_tokens":-7,"total_tokens":-12}'),
  "one of them negative": usage('{"prompt_tokens":9,"completion_tokens":-7}'),
  fractions: usage('{"prompt_tokens":1.5,"completion_tokens":2.25}'),
  "1e308": usage('{"prompt_tokens":1e308,"completion_tokens":1e308}'),
  "beyond all numbers": usage('{"prompt_tokens":1e999,"completion_tokens":2}'),
  "thirty digits": usage(`{"prompt_tokens":${"9".repeat(30)},"completion_tokens":2}`),
  "a hundred thousand digits": usage(`{"prompt_tokens":${"9".repeat(100_000)},"completion_tokens":2}`),
  strings: usage('{"prompt_tokens":"5","completion_tokens":"6"}'),
  null: usage("null"),
  "nulls inside": usage('{"prompt_tokens":null,"completion_tokens":null}'),
  "a list": usage("[5,6]"),
  "lists inside": usage('{"prompt_tokens":[5],"completion_tokens":{"x":6}}'),
  "true and false": usage('{"prompt_tokens":true,"completion_tokens":false}'),
  "nested ten thousand deep": usage(`{"prompt_tokens":5,"x":${deep(10_000)},"completion_tokens":6}`),
  "deep before it": `{"x":${deep(10_000)},"usage":{"prompt_tokens":5,"completion_tokens":6}}`,
  "JSON that breaks off": '{"object":"chat.completion","usage":{"prompt_tokens":5,"completi',
  "no JSON": "<html>usage: {prompt_tokens: 5}</html>",
  "usage somewhere else": '{"choices":[{"usage":{"prompt_tokens":99999,"completion_tokens":9}}]}',
};

/** What can be read in more than one way, and what of it counts: input and output. */
const DOUBTFUL: Readonly<Record<string, { body: string; tokens: readonly [number, number] }>> = {
  "members twice": {
    body: usage('{"prompt_tokens":5,"prompt_tokens":7,"completion_tokens":6,"completion_tokens":1}'),
    tokens: [7, 1],
  },
  "usage twice": {
    body: '{"usage":{"prompt_tokens":5,"completion_tokens":6},"usage":{"prompt_tokens":50,"completion_tokens":60}}',
    tokens: [50, 60],
  },
  "a total below its parts": {
    body: usage('{"prompt_tokens":50,"completion_tokens":60,"total_tokens":1}'),
    tokens: [50, 60],
  },
  "a total above its parts": {
    body: usage('{"prompt_tokens":50,"completion_tokens":60,"total_tokens":100000}'),
    tokens: [50, 60],
  },
  "more cached than read": {
    body: usage('{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":900}}'),
    tokens: [10, 1],
  },
  "more reasoning than output": {
    body: usage('{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":900}}'),
    tokens: [10, 5],
  },
  "a model of 100 KB": {
    body: `{"model":"${"m".repeat(100_000)}","usage":{"prompt_tokens":5,"completion_tokens":6}}`,
    tokens: [5, 6],
  },
  "a model with control characters": {
    body: '{"model":"gpt\\u0000\\n\\u001b[31m","usage":{"prompt_tokens":5,"completion_tokens":6}}',
    tokens: [5, 6],
  },
  "not UTF-8": { body: '{"model":"\xff\xfe","usage":{"prompt_tokens":5,"completion_tokens":6}}', tokens: [5, 6] },
  "usage inside a text": {
    body: '{"choices":[{"message":{"content":"\\"usage\\":{\\"prompt_tokens\\":99999}"}}],"usage":{"prompt_tokens":5,"completion_tokens":6}}',
    tokens: [5, 6],
  },
};

/** What was recorded is what the budget was charged: whole numbers, and no more than the call could use. */
function assertSane({ line, charged }: Told, name: string): void {
  const [input, output] = [Number(line.tokens_in), Number(line.tokens_out)];
  for (const count of [input, output]) assert.ok(Number.isSafeInteger(count) && count >= 0, `${name}: ${count}`);
  assert.equal(charged, input + output, name);
  assert.equal(line.model, "gpt-t", name);
  assert.equal(line.outcome, "ok", name);
}

test("usage that makes no sense is estimated, and the estimate is one that the call allows", {
  timeout: 60_000,
}, async (t) => {
  const provider = await startLyingProvider(t);
  for (const [name, body] of Object.entries(USELESS)) {
    const told = await provider.tell({ bytes: jsonAnswer(body) });
    assert.equal(told.answer.body.toString("latin1"), body, name);
    assertSane(told, name);
    assert.deepEqual([told.line.usage, told.line.tokens_in], ["estimated", 21], name);
    assert.ok(Number(told.line.tokens_out) <= 100, `${name}: ${told.line.tokens_out}`);
  }
});

test("usage that contradicts itself counts as it can be defended", { timeout: 60_000 }, async (t) => {
  const provider = await startLyingProvider(t);
  for (const [name, { body, tokens }] of Object.entries(DOUBTFUL)) {
    const told = await provider.tell({ bytes: jsonAnswer(body) });
    assert.equal(told.answer.body.toString("latin1"), body, name);
    assertSane(told, name);
    assert.deepEqual([told.line.tokens_in, told.line.tokens_out, told.line.usage], [...tokens, "exact"], name);
  }
});

const TOLD =
  '{"object":"chat.completion.chunk","model":"gpt-t","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}';
const WORD = '{"object":"chat.completion.chunk","model":"gpt-t","choices":[{"index":0,"delta":{"content":"hi"}}]}';

/** Streams, and whether their usage counts as told (11 tokens) or is estimated. */
const STREAMS: Readonly<Record<string, { body: string; exact: boolean }>> = {
  "mixed line ends": { body: `data: ${WORD}\r\n\r\ndata: ${TOLD}\n\ndata: [DONE]\r\r`, exact: true },
  "a byte order mark": { body: `\xef\xbb\xbfdata: ${TOLD}\n\ndata: [DONE]\n\n`, exact: true },
  "comments and other fields": { body: `: ping\nid: 1\nretry: 5\nevent: x\ndata: ${TOLD}\n\n`, exact: true },
  "an event in many lines": { body: `data: ${TOLD.slice(0, 30)}\ndata: ${TOLD.slice(30)}\n\n`, exact: true },
  "no blank line anywhere": { body: `data: ${WORD}\ndata: ${TOLD}\n`, exact: false },
  "no end of the last event": { body: `data: ${WORD}\n\ndata: ${TOLD}`, exact: false },
  "usage that is taken back": { body: `data: ${TOLD}\n\ndata: ${TOLD.replace("5", "-5")}\n\n`, exact: false },
  "zero bytes": { body: `data: \0\0\n\ndata: ${WORD}\n\n`, exact: false },
  "events of an error": { body: `data: {"error":{"message":"no"}}\n\ndata: ${WORD}\n\n`, exact: false },
  "an event of 8 MB": { body: `data: {"x":"${"y".repeat(8_000_000)}"}\n\ndata: ${TOLD}\n\n`, exact: true },
  "a line without end": { body: `data: ${"z".repeat(2_000_000)}`, exact: false },
};

test("streams that are none are read as far as they can be, and pass as they are", { timeout: 60_000 }, async (t) => {
  const provider = await startLyingProvider(t);
  for (const [name, { body, exact }] of Object.entries(STREAMS)) {
    const head = `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: ${body.length}\r\n\r\n`;
    const told = await provider.tell({ bytes: head + body });
    assert.ok(told.answer.body.equals(Buffer.from(body, "latin1")), name);
    assertSane(told, name);
    if (exact) assert.deepEqual([told.line.usage, told.charged], ["exact", 11], name);
    else
      assert.ok(
        told.line.usage === "estimated" && Number(told.line.tokens_out) <= 100,
        `${name}: ${told.line.tokens_out}`,
      );
  }
});

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { pause } from "../support/running-sidekey.ts";
import type { Ask } from "./form-client.ts";
import {
  assertCharged,
  chatAsk,
  eventAnswer,
  jsonAnswer,
  type Lie,
  lyingScene,
  MAX_COUNT,
  outOfBudget,
  type Told,
} from "./lying-scene.ts";

const TIMEOUT = { timeout: 60_000 };

const USAGE = '{"prompt_tokens":30,"completion_tokens":50,"total_tokens":80}';
const DEEP = 10_000;
const MANY_BYTES = 20_000_000;

/** The usage as it stands in an answer that is fine otherwise. */
function answerWith(usage: string, more = ""): string {
  return `{"model":"gpt-t","choices":[{"message":{"content":"a few words"}}],"usage":${usage}${more}}`;
}

const counts = (input: string, output: string): Lie =>
  jsonAnswer(answerWith(`{"prompt_tokens":${input},"completion_tokens":${output}}`));

function withBytes(before: string, bytes: readonly number[], after: string): Buffer {
  return Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]);
}

/** What is charged: `told` is 80 tokens, a number something else that the provider said, `guess` an estimate. */
type Charge = "told" | "guess" | "none" | number;

/** Numbers that are no counts of tokens. */
const NO_COUNTS: Readonly<Record<string, Lie>> = {
  "negative input": counts("-30", "50"),
  "negative output": counts("30", "-50"),
  fractions: counts("1.5", "2"),
  "1e308": counts("1e308", "2"),
  "a number beyond every double": counts("1e999", "2"),
  "30 digits": counts("9".repeat(30), "2"),
  "just beyond what is believed": counts(String(MAX_COUNT + 1), "2"),
  NaN: counts("NaN", "50"),
  strings: counts('"30"', '"50"'),
  nulls: counts("null", "null"),
  booleans: counts("true", "50"),
  "arrays and objects": counts("[30]", '{"a":1}'),
  "usage that is an array": jsonAnswer(answerWith("[30,50]")),
  "usage that is null": jsonAnswer(answerWith("null")),
  "usage that is a string": jsonAnswer(answerWith('"30"')),
  "usage without members": jsonAnswer(answerWith("{}")),
};

const DOCUMENTS: Readonly<Record<string, readonly [Lie, Charge]>> = {
  "usage nested too deep": [
    jsonAnswer(answerWith(`{"a":${"[".repeat(DEEP)}${"]".repeat(DEEP)},"prompt_tokens":30,"completion_tokens":50}`)),
    "guess",
  ],
  "depth before the usage": [jsonAnswer(`{"x":${"[".repeat(DEEP)}${"]".repeat(DEEP)},"usage":${USAGE}}`), "guess"],
  "depth behind the usage": [jsonAnswer(answerWith(USAGE, `,"x":${'{"a":'.repeat(DEEP)}1${"}".repeat(DEEP)}`)), "told"],
  "usage twice": [jsonAnswer(answerWith('{"prompt_tokens":999,"completion_tokens":1}', `,"usage":${USAGE}`)), "told"],
  "a count twice": [jsonAnswer(answerWith('{"prompt_tokens":999,"prompt_tokens":30,"completion_tokens":50}')), "told"],
  "a total below its parts": [
    jsonAnswer(answerWith('{"prompt_tokens":30,"completion_tokens":50,"total_tokens":3}')),
    "told",
  ],
  "more cached than read": [
    jsonAnswer(
      answerWith('{"prompt_tokens":30,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":5000}}'),
    ),
    "told",
  ],
  "more thought than written": [
    jsonAnswer(
      answerWith(
        '{"prompt_tokens":30,"completion_tokens":50,"completion_tokens_details":{"reasoning_tokens":5000,"audio_tokens":900}}',
      ),
    ),
    "told",
  ],
  "usage of 20 KB": [
    jsonAnswer(answerWith(`{"pad":"${"x".repeat(20_000)}","prompt_tokens":30,"completion_tokens":50}`)),
    "guess",
  ],
  "usage inside of what the model wrote": [
    jsonAnswer(
      '{"model":"gpt-t","choices":[{"message":{"content":"{\\"usage\\":{\\"prompt_tokens\\":9999999}}","usage":{"prompt_tokens":9999999}}}]}',
    ),
    "guess",
  ],
  "usage of the prototype": [jsonAnswer(answerWith('{"__proto__":{"prompt_tokens":7777},"completion_tokens":5}')), 5],
  "invalid UTF-8 in what the model wrote": [
    jsonAnswer(
      withBytes(
        '{"model":"gpt-t","choices":[{"message":{"content":"',
        [0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80],
        `"}}],"usage":${USAGE}}`,
      ),
    ),
    "told",
  ],
  "invalid UTF-8 in a name": [jsonAnswer(withBytes('{"', [0xff, 0xfe], `":1,"usage":${USAGE}}`)), "told"],
  "two documents": [jsonAnswer(`{"usage":${USAGE}}{"usage":{"prompt_tokens":1,"completion_tokens":1}}`), "told"],
  "a document that is not whole": [jsonAnswer(`{"model":"gpt-t","usage":${USAGE},"choices":[`), "told"],
  "another text encoding": [jsonAnswer(Buffer.from(`{"usage":${USAGE}}`, "utf16le")), "guess"],
  "no JSON": [jsonAnswer("<usage>9</usage>"), "guess"],
  nothing: [jsonAnswer(""), "guess"],
  "an error with status 200": [jsonAnswer('{"error":{"message":"no"},"usage":null}'), "none"],
};

const MODELS: Readonly<Record<string, string>> = {
  "100 KB": `"${"m".repeat(100_000)}"`,
  "control characters": '"a\\n\\u0000\\u001b[31mb"',
  "bytes that JSON forbids": '"a\u0001b"',
  "no string": '{"a":1}',
};

const delta = (text: string): string => `{"model":"gpt-t","choices":[{"delta":{"content":"${text}"}}]}`;
const LAST = `{"choices":[],"usage":${USAGE}}`;
const events = (...data: readonly string[]): Lie => eventAnswer(data.map((each) => `data: ${each}\n\n`).join(""));

const STREAMS: Readonly<Record<string, readonly [Lie, Charge]>> = {
  "usage twice": [
    events(delta("a"), '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}', LAST, "[DONE]"),
    "told",
  ],
  "usage that grows": [
    events('{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":30,"completion_tokens":1}}', LAST),
    "told",
  ],
  "usage that is no count": [
    events(delta("a"), '{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":5}}'),
    "guess",
  ],
  "usage inside of what the model wrote": [
    events(delta('\\n\\ndata: {\\"usage\\":{\\"prompt_tokens\\":99999}}'), "[DONE]"),
    "guess",
  ],
  "no blank lines": [eventAnswer(`data: ${delta("a")}\ndata: ${LAST}\ndata: [DONE]\n`), "guess"],
  "no blank line at the end": [eventAnswer(`data: ${LAST}`), "guess"],
  "mixed line ends": [eventAnswer(`data: ${delta("a")}\r\rdata: ${LAST}\r\n\r\ndata: [DONE]\n\n`), "told"],
  "a byte order mark": [eventAnswer(`\ufeffdata: ${LAST}\n\n`), "told"],
  "comments and other fields": [eventAnswer(`: ping\n\n:\n\nevent: x\nid: 1\nretry: 5\ndata:${LAST}\n\n`), "told"],
  "an event in two lines": [eventAnswer(`data: {"choices":[],\ndata: "usage":${USAGE}}\n\n`), "told"],
  "an event of 20 MB": [events(delta("x".repeat(MANY_BYTES)), LAST, "[DONE]"), "told"],
  "an event of 20 MB alone": [events(delta("x".repeat(MANY_BYTES))), "guess"],
  "a line without end": [eventAnswer(`data: ${"x".repeat(MANY_BYTES)}`), "guess"],
  "a name without end": [eventAnswer("d".repeat(MANY_BYTES)), "guess"],
  "half a million empty events": [eventAnswer(`${"data:\n\n".repeat(500_000)}data: ${LAST}\n\n`), "told"],
  "invalid UTF-8": [
    eventAnswer(withBytes('data: {"choices":[{"delta":{"content":"', [0xff, 0xc0, 0x80], `"}}]}\n\ndata: ${LAST}\n\n`)),
    "told",
  ],
  "no data": [eventAnswer("event: x\n\n"), "guess"],
  "an end within the usage": [
    eventAnswer(`data: ${delta("a")}\n\ndata: {"choices":[],"usage":{"prompt_tokens":30,"compl`),
    "guess",
  ],
  "a document where events should be": [eventAnswer(LAST), "guess"],
};

function assertSane(told: Told, charge: Charge, what: string): void {
  const { line, charged } = told;
  assert.equal(line.outcome, "ok", what);
  assert.equal(told.answer.complete, true, what);
  assertCharged(told);
  assert.ok(Number.isSafeInteger(charged) && charged >= 0, `${what}: ${charged}`);
  assert.equal(line.usage, charge === "none" ? undefined : charge === "guess" ? "estimated" : "exact", what);
  if (charge !== "guess") assert.equal(charged, charge === "told" ? 80 : charge === "none" ? 0 : charge, what);
  // A dollar per million tokens.
  assert.equal(Math.round(Number(line.cost_usd) * 1e6), charged, what);
}

async function tellAll(t: TestContext, lies: Readonly<Record<string, readonly [Lie, Charge]>>, ask: Ask) {
  const scene = await lyingScene(t, "response: { tokens: pass }");
  for (const [what, [lie, charge]] of Object.entries(lies)) assertSane(await scene.lie(lie, { ask }), charge, what);
}

test("numbers that are no counts are not counted: the call is charged by its size", TIMEOUT, async (t) => {
  const lies = Object.entries(NO_COUNTS).map(([what, lie]) => [what, [lie, "guess"]] as const);
  await tellAll(t, Object.fromEntries(lies), chatAsk());
});

test("documents that lie are charged what can be defended", TIMEOUT, (t) => tellAll(t, DOCUMENTS, chatAsk()));

test("streams that lie are charged what can be defended", TIMEOUT, (t) =>
  tellAll(t, STREAMS, chatAsk({ stream: true })),
);

test("a model's name that is none is not told to anybody", TIMEOUT, async (t) => {
  const scene = await lyingScene(t);
  for (const [what, model] of Object.entries(MODELS)) {
    const told = await scene.lie(jsonAnswer(`{"model":${model},"choices":[],"usage":${USAGE}}`));
    assertSane(told, "told", what);
    assert.equal(told.line.model, "gpt-t", what);
  }
  assert.doesNotMatch(scene.sidekey.log(), /mmmmmmmm|\[31m/);
});

test("the most that is believed empties the budget and no more: it is refused, never negative", TIMEOUT, async (t) => {
  const scene = await lyingScene(t);
  scene.next(counts(String(MAX_COUNT), String(MAX_COUNT)));
  const left = await outOfBudget(t, scene);
  assert.deepEqual(left, { tokens: 0, places: 1 });
});

test("whatever stands in a usage, what is charged is what is recorded, and never nonsense", TIMEOUT, async (t) => {
  const scene = await lyingScene(t);
  const value = fc.oneof(
    fc.nat(1_000_000),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => n < 0 || !Number.isInteger(n) || n > MAX_COUNT),
    fc.constantFrom(null, true, "", "12", [], {}, -0, -1),
  );
  const names = ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"];
  const details = fc.dictionary(fc.constantFrom("cached_tokens", "audio_tokens", "reasoning_tokens"), value);
  const usage = fc.tuple(
    fc.dictionary(fc.constantFrom(...names), value),
    fc.dictionary(fc.constantFrom("prompt_tokens_details", "completion_tokens_details"), details),
  );
  await fc.assert(
    fc.asyncProperty(usage, async ([counted, detailed]) => {
      const told = await scene.lie(jsonAnswer(answerWith(JSON.stringify({ ...counted, ...detailed }))));
      assert.ok(told.line.usage === "exact" || told.line.usage === "estimated");
      assertCharged(told);
      assert.ok(Number.isSafeInteger(told.charged) && told.charged >= 0 && told.charged <= 5_000_000);
    }),
    { numRuns: 60 },
  );
});

test(
  "what a stream has delivered is charged when its client leaves, whatever the provider says later",
  TIMEOUT,
  async (t) => {
    const scene = await lyingScene(t);
    let left = false;
    scene.next((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
      const write = async (): Promise<void> => {
        while (!left && !socket.destroyed) {
          socket.write(`data: ${delta("word word word word ")}\n\n`);
          await pause(2);
        }
        socket.end(`data: {"choices":[],"usage":{"prompt_tokens":999999,"completion_tokens":999999}}\n\n`);
      };
      void write();
    });
    const before = await scene.left();
    const client = scene.client(t);
    const exchange = await client.open(chatAsk({ stream: true }));
    exchange.request.end(chatAsk({ stream: true }).body);
    const { body } = await exchange.answer;
    body.on("error", () => {});
    await new Promise((resolve) => body.once("data", resolve));
    exchange.abort();
    const line = (await scene.sidekey.requestsLogged(3)).at(-1);
    left = true;
    assert.deepEqual([line?.outcome, line?.usage], ["client_closed", "estimated"]);
    const charged = before.tokens - (await scene.left()).tokens;
    assert.equal(charged, Number(line?.tokens_in) + Number(line?.tokens_out));
    assert.ok(charged < 2_000, String(charged));
    await scene.well();
  },
);

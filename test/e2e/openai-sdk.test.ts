import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import OpenAI from "openai";
import { openAiAnswer } from "./openai-answers.ts";
import { type Calls, exactly, type SdkScene, sameEveryWay, startSdkScene, type Way } from "./sdk-scene.ts";

const TIMEOUT = { timeout: 60_000 };
const HOST = "api.openai.com";
const KEY = `sk-${randomBytes(24).toString("hex")}`;
const MODEL = "gpt-4o";
/** What the provider says has answered. */
const ANSWERED = "gpt-4o-2024-08-06";
const MESSAGES = [{ role: "user" as const, content: "grüße" }];

const PRICES = `version: 1
table: test
providers:
  openai:
    models:
      - { names: ["gpt-4o*"], prices: [{ from: 2020-01-01, input: 2.5, cached_input: 1.25, output: 10 }] }
`;

/** Nano-dollars by the token, as in the prices above. */
const CHAT = exactly(
  "chat",
  ANSWERED,
  { input: 93, cached_input: 1024, output: 34, reasoning: 12 },
  93 * 2500 + 1024 * 1250 + 46 * 10_000,
);
const RESPONSE = exactly(
  "responses",
  ANSWERED,
  { input: 200, cached_input: 128, output: 32, reasoning: 20 },
  200 * 2500 + 128 * 1250 + 52 * 10_000,
);

function scene(t: TestContext, gzip: boolean): Promise<SdkScene> {
  return startSdkScene(t, { id: "openai", host: HOST, key: KEY, handler: openAiAnswer, prices: PRICES, gzip });
}

function clientOf({ origin, key, fetch }: Way): OpenAI {
  return new OpenAI({ baseURL: `${origin}/v1`, apiKey: key, fetch, maxRetries: 0 });
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const WEATHER = {
  type: "function" as const,
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

/** Everything that the helper of streamed chats tells. */
async function helperOfChats(client: OpenAI, more: { tools?: (typeof WEATHER)[]; usage?: boolean }): Promise<unknown> {
  const { tools, usage } = more;
  const runner = client.chat.completions.stream({
    model: MODEL,
    messages: MESSAGES,
    ...(tools ? { tools } : {}),
    ...(usage ? { stream_options: { include_usage: true } } : {}),
  });
  const events: unknown[] = [];
  for (const name of [
    "content.delta",
    "content.done",
    "tool_calls.function.arguments.delta",
    "tool_calls.function.arguments.done",
  ] as const) {
    runner.on(name, (event: object) => events.push([name, structuredClone(event)]));
  }
  runner.on("chunk", (chunk) => events.push(["chunk", structuredClone(chunk)]));
  const final = await runner.finalChatCompletion();
  return { final, events, usage: await runner.totalUsage() };
}

const CHATS: readonly Calls<OpenAI>[] = [
  {
    name: "plain",
    call: async (client) => {
      const answer = await client.chat.completions.create({ model: MODEL, messages: MESSAGES });
      return { answer, id: answer._request_id };
    },
    used: [CHAT],
  },
  {
    name: "stream",
    call: async (client) =>
      all(await client.chat.completions.create({ model: MODEL, messages: MESSAGES, stream: true })),
    used: [CHAT],
  },
  {
    name: "stream with usage",
    call: async (client) => {
      const more = { stream: true, stream_options: { include_usage: true } } as const;
      return all(await client.chat.completions.create({ model: MODEL, messages: MESSAGES, ...more }));
    },
    used: [CHAT],
  },
  {
    name: "stream of tool calls",
    call: async (client) =>
      all(await client.chat.completions.create({ model: MODEL, messages: MESSAGES, stream: true, tools: [WEATHER] })),
    used: [CHAT],
  },
  { name: "helper", call: (client) => helperOfChats(client, {}), used: [CHAT] },
  { name: "helper with usage", call: (client) => helperOfChats(client, { usage: true }), used: [CHAT] },
  { name: "helper with tools", call: (client) => helperOfChats(client, { tools: [WEATHER] }), used: [CHAT] },
];

const RESPONSES: readonly Calls<OpenAI>[] = [
  {
    name: "plain",
    call: (client) => client.responses.create({ model: MODEL, input: "grüße" }),
    used: [RESPONSE],
  },
  {
    name: "stream",
    call: async (client) => all(await client.responses.create({ model: MODEL, input: "grüße", stream: true })),
    used: [RESPONSE],
  },
  {
    name: "helper",
    call: async (client) => {
      const runner = client.responses.stream({ model: MODEL, input: "grüße" });
      const events: unknown[] = [];
      runner.on("event", (event) => events.push(structuredClone({ ...event })));
      return { final: await runner.finalResponse(), events };
    },
    used: [RESPONSE],
  },
];

for (const gzip of [false, true]) {
  const coding = gzip ? "with gzip" : "without a coding";

  test(`chats ${coding}: the SDK gets through sidekey what it gets without it`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await scene(t, gzip), clientOf, CHATS);
    const [plain, asked] = [results.stream, results["stream with usage"]] as { usage?: object | null }[][];
    assert.ok(
      plain?.every((chunk) => !("usage" in chunk)),
      "nobody asked for usage",
    );
    assert.equal(asked?.length, (plain?.length ?? 0) + 1);
    const { final } = results["helper with tools"] as { final: OpenAI.ChatCompletion };
    const calls = final.choices[0]?.message.tool_calls?.map(
      (call) => call.type === "function" && call.function.arguments,
    );
    assert.deepEqual(calls, ['{"city":"München"}', '{"zone":"Europe/Berlin"}']);
  });

  test(`responses ${coding}: the SDK gets through sidekey what it gets without it`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await scene(t, gzip), clientOf, RESPONSES);
    const { final, events } = results.helper as { final: OpenAI.Responses.Response; events: unknown[] };
    assert.deepEqual([final.output_text, final.usage?.total_tokens], ["Grüße aus München — 日本 ✓", 380]);
    assert.equal(events.length, (results.stream as unknown[]).length);
  });
}

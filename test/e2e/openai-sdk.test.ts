import assert from "node:assert/strict";
import { test } from "node:test";
import type OpenAI from "openai";
import { CHAT, openAiClient, openAiProvider, RESPONSE } from "./openai-provider.ts";
import { type Calls, sameEveryWay, startSdkScene } from "./sdk-scene.ts";

const TIMEOUT = { timeout: 60_000 };
const MODEL = "gpt-4o";
const MESSAGES = [{ role: "user" as const, content: "grüße" }];

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

for (const coding of ["identity", "gzip"] as const) {
  test(`chats in ${coding}: the SDK gets through sidekey what it gets without it`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await startSdkScene(t, { ...openAiProvider, coding }), openAiClient, CHATS);
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

  test(`responses in ${coding}: the SDK gets through sidekey what it gets without it`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await startSdkScene(t, { ...openAiProvider, coding }), openAiClient, RESPONSES);
    const { final, events } = results.helper as { final: OpenAI.Responses.Response; events: unknown[] };
    assert.deepEqual([final.output_text, final.usage?.total_tokens], ["Grüße aus München — 日本 ✓", 380]);
    assert.equal(events.length, (results.stream as unknown[]).length);
  });
}

import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { TEXT } from "./anthropic-answers.ts";
import { anthropicClient, anthropicProvider, MESSAGE } from "./anthropic-provider.ts";
import { type Calls, sameEveryWay, startSdkScene, unused } from "./sdk-scene.ts";

const TIMEOUT = { timeout: 60_000 };

const MODEL = "claude-sonnet-5-5";
const ASKED = { model: MODEL, max_tokens: 4096, messages: [{ role: "user" as const, content: "grüße" }] };
const TOOLS = [{ name: "get_weather", input_schema: { type: "object" as const, properties: {} } }];
const EVERYTHING = { tools: TOOLS, thinking: { type: "enabled" as const, budget_tokens: 1024 } };

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Everything that the helper of streamed messages tells. */
async function helper(client: Anthropic, more: Partial<typeof EVERYTHING>): Promise<unknown> {
  const stream = client.messages.stream({ ...ASKED, ...more });
  const events: unknown[] = [];
  for (const name of ["text", "inputJson", "thinking", "signature", "contentBlock", "streamEvent"] as const) {
    stream.on(name, (...told: unknown[]) => events.push([name, ...structuredClone(told)]));
  }
  return { final: await stream.finalMessage(), text: await stream.finalText(), events };
}

const MESSAGES: readonly Calls<Anthropic>[] = [
  {
    name: "plain",
    call: async (client) => {
      const answer = await client.messages.create(ASKED);
      return { answer, id: answer._request_id };
    },
    used: [MESSAGE],
  },
  {
    name: "everything",
    call: (client) => client.messages.create({ ...ASKED, ...EVERYTHING }),
    used: [MESSAGE],
  },
  {
    name: "stream",
    call: async (client) => all(await client.messages.create({ ...ASKED, stream: true })),
    used: [MESSAGE],
  },
  {
    name: "stream of everything",
    call: async (client) => all(await client.messages.create({ ...ASKED, ...EVERYTHING, stream: true })),
    used: [MESSAGE],
  },
  { name: "helper", call: (client) => helper(client, {}), used: [MESSAGE] },
  { name: "helper with everything", call: (client) => helper(client, EVERYTHING), used: [MESSAGE] },
];

const OTHERS: readonly Calls<Anthropic>[] = [
  {
    name: "count",
    call: (client) => client.messages.countTokens({ model: MODEL, messages: ASKED.messages }),
    used: [unused("count_tokens")],
  },
  {
    name: "batches",
    call: (client) => all(client.messages.batches.list({ limit: 2 })),
    used: [unused("other"), unused("other"), unused("other")],
  },
];

/** What a service sees of an error. */
async function failure(failing: () => Promise<unknown>): Promise<unknown> {
  try {
    return ["no error", await failing()];
  } catch (error) {
    assert.ok(error instanceof Anthropic.APIError, String(error));
    const { status, type, message, requestID, headers } = error;
    const told = ["retry-after", "x-should-retry", "request-id"].map((name) => headers?.get(name));
    return [error.constructor.name, status, type, message, requestID, error.error, told];
  }
}

const statusFailure = (status: number): Calls<Anthropic> => ({
  name: String(status),
  call: (client) => failure(() => client.messages.create({ ...ASKED, model: `fails-${status}` })),
  used: [unused("messages", `fails-${status}`)],
});

for (const coding of ["identity", "gzip"] as const) {
  test(`messages in ${coding}: the SDK gets through sidekey what it gets without it`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(
      await startSdkScene(t, { ...anthropicProvider, coding }),
      anthropicClient,
      MESSAGES,
    );
    const { final, text } = results["helper with everything"] as { final: Anthropic.Message; text: string };
    assert.equal(text, TEXT);
    assert.deepEqual(
      final.content.map(({ type }) => type),
      ["thinking", "text", "tool_use"],
    );
    assert.deepEqual([final.usage.output_tokens, final.usage.cache_read_input_tokens], [89, 1000]);
    const whole = (results.everything as Anthropic.Message).content;
    assert.deepEqual(structuredClone(final.content), whole);
  });
}

test("counting and batches are free, and pages follow each other", TIMEOUT, async (t) => {
  const results = await sameEveryWay(await startSdkScene(t, anthropicProvider), anthropicClient, OTHERS);
  assert.deepEqual(results.count, { input_tokens: 2095 });
  assert.equal((results.batches as unknown[]).length, 5);
});

for (const status of [400, 529, 500, 429, 401]) {
  test(`a ${status} is the same error of the SDK, and used nothing`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await startSdkScene(t, anthropicProvider), anthropicClient, [
      statusFailure(status),
    ]);
    assert.equal((results[status] as unknown[])[1], status);
  });
}

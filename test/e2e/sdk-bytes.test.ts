import assert from "node:assert/strict";
import { test } from "node:test";
import { anthropicProvider, MESSAGE } from "./anthropic-provider.ts";
import { CHAT, openAiProvider, RESPONSE } from "./openai-provider.ts";
import { type Calls, sameEveryWay, startSdkScene, type Used, type Way } from "./sdk-scene.ts";

const TIMEOUT = { timeout: 60_000 };

/**
 * Fields that may differ: those of one connection and its framing, the coding (sidekey reads what it passes on, and takes
 * it off), and cookies, which bind calls to a key and stay with sidekey.
 */
const MAY_DIFFER = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "content-length",
  "content-encoding",
  "set-cookie",
]);

interface Received {
  readonly status: number;
  readonly fields: readonly (readonly [string, string])[];
  readonly bytes: Buffer;
}

async function post({ origin, key, fetch }: Way, path: string, body: object, coding: string): Promise<Received> {
  const response = await fetch(`${origin}/v1/${path}`, {
    method: "POST",
    headers: {
      ...(path === "messages" ? { "x-api-key": key, "anthropic-version": "2026-10-21" } : {}),
      ...(path === "messages" ? {} : { authorization: `Bearer ${key}` }),
      "content-type": "application/json",
      "accept-encoding": coding,
    },
    body: JSON.stringify(body),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  return { status: response.status, fields: [...response.headers].filter(([name]) => !MAY_DIFFER.has(name)), bytes };
}

const chat = { model: "gpt-4o", messages: [{ role: "user", content: "grüße" }] };
const usage = { stream_options: { include_usage: true } };

function requests(coding: string): readonly Calls<Way>[] {
  const call = (path: string, body: object) => (way: Way) => post(way, path, body, coding);
  return [
    { name: "chat", call: call("chat/completions", chat), used: [CHAT] },
    { name: "stream", call: call("chat/completions", { ...chat, stream: true }), used: [CHAT] },
    { name: "asked", call: call("chat/completions", { ...chat, stream: true, ...usage }), used: [CHAT] },
    {
      name: "declined",
      call: call("chat/completions", { ...chat, stream: true, stream_options: { include_usage: false } }),
      used: [CHAT],
    },
    { name: "response", call: call("responses", { model: "gpt-4o", input: "grüße" }), used: [RESPONSE] },
    {
      name: "streamed response",
      call: call("responses", { model: "gpt-4o", input: "grüße", stream: true }),
      used: [RESPONSE],
    },
  ];
}

for (const coding of ["identity", "gzip", "deflate", "br", "zstd"] as const) {
  test(
    `OpenAI, ${coding}: status, fields and every byte are those that the provider would have sent`,
    TIMEOUT,
    async (t) => {
      const scene = await startSdkScene(t, { ...openAiProvider, coding });
      const results = await sameEveryWay(scene, (way) => way, requests(coding));
      const { stream, declined, asked } = results as Record<string, Received>;
      assert.ok(stream && declined && asked);
      assert.deepEqual(stream, declined);
      assert.ok(!stream.bytes.includes('"usage"') && stream.bytes.includes("data: [DONE]\n\n"));
      assert.ok(asked.bytes.includes('"usage":null') && asked.bytes.includes('"prompt_tokens":1117'));
    },
  );

  test(
    `Anthropic, ${coding}: status, fields and every byte are those that the provider would have sent`,
    TIMEOUT,
    async (t) => {
      const scene = await startSdkScene(t, { ...anthropicProvider, coding });
      const asked = { model: "claude-sonnet-5-5", max_tokens: 100, thinking: {}, tools: [], messages: chat.messages };
      const call = (body: object) => (way: Way) => post(way, "messages", body, coding);
      const results = await sameEveryWay(scene, (way) => way, [
        { name: "message", call: call(asked), used: [MESSAGE] },
        { name: "stream", call: call({ ...asked, stream: true }), used: [MESSAGE] },
      ]);
      assert.ok((results.stream as Received).bytes.includes("event: ping\n"));
    },
  );
}

test("a route that does not ask: nothing is hidden, and the usage of a stream is worked out", TIMEOUT, async (t) => {
  const scene = await startSdkScene(t, { ...openAiProvider, route: ", usage: { ask: off }" });
  const [plain, asked] = ["stream", "asked"].map((wanted) => requests("identity").find(({ name }) => name === wanted));
  assert.ok(plain && asked);
  // A quarter of the bytes of the request, and of the text that came.
  const estimate = { quality: "estimated", units: { input: 21, output: 17 }, cost: 21 * 2500 + 17 * 10_000 };
  const used = [{ ...CHAT, ...estimate }];
  await sameEveryWay(scene, (way) => way, [{ ...plain, used }, asked]);
});

test(
  "a chat that is longer than what is looked at arrives whole, and its streams are not asked for usage",
  TIMEOUT,
  async (t) => {
    const scene = await startSdkScene(t, openAiProvider);
    const url = `data:image/png;base64,${Buffer.alloc(1_600_000, "picture").toString("base64")}`;
    const messages = [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }];
    const call = (more: object) => (way: Way) =>
      post(way, "chat/completions", { model: "gpt-4o", messages, ...more }, "identity");
    // A picture, and a quarter of the bytes before it.
    const estimate: Used = {
      ...CHAT,
      quality: "estimated",
      units: { input: 1024, output: 17 },
      cost: 1024 * 2500 + 17 * 10_000,
    };
    await sameEveryWay(scene, (way) => way, [
      { name: "chat", call: call({}), used: [CHAT] },
      { name: "stream", call: call({ stream: true }), used: [estimate] },
      { name: "asked", call: call({ stream: true, ...usage }), used: [CHAT] },
    ]);
  },
);

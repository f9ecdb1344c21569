import assert from "node:assert/strict";
import { test } from "node:test";
import { CHAT, openAiProvider, RESPONSE } from "./openai-provider.ts";
import { type Calls, sameEveryWay, startSdkScene, type Way } from "./sdk-scene.ts";

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
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", "accept-encoding": coding },
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

for (const gzip of [false, true]) {
  const coding = gzip ? "gzip" : "identity";

  test(`${coding}: status, fields and every byte are those that the provider would have sent`, TIMEOUT, async (t) => {
    const scene = await startSdkScene(t, { ...openAiProvider, gzip });
    const results = await sameEveryWay(scene, (way) => way, requests(coding));
    const { stream, declined, asked } = results as Record<string, Received>;
    assert.ok(stream && declined && asked);
    assert.deepEqual(stream, declined);
    assert.ok(!stream.bytes.includes('"usage"') && stream.bytes.includes("data: [DONE]\n\n"));
    assert.ok(asked.bytes.includes('"usage":null') && asked.bytes.includes('"prompt_tokens":1117'));
  });
}

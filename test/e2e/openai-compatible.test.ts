import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import OpenAI from "openai";
import { jsonBody } from "../clients/support/answer-parts.ts";
import { DEEPSEEK_STREAM, GROQ_STREAM, OPENROUTER_STREAM, XAI_STREAM } from "../providers/usage/openai-transcripts.ts";
import type { StandInHandler } from "../support/stand-in.ts";
import { type Calls, sameEveryWay, startSdkScene, type Used, type Way } from "./sdk-scene.ts";

/** The OpenAI SDK at other providers, with the streams that they are known for. */

const TIMEOUT = { timeout: 60_000 };

/** In all of these transcripts. */
const ANSWERED = "gpt-5-mini-2025-08-07";

interface Compatible {
  readonly id: string;
  readonly host: string;
  /** Of its base URL. */
  readonly path: string;
  /** What its keys begin with. */
  readonly prefix: string;
  readonly keyLength: number;
  readonly stream: string;
  /** Of its record: by the prices below, or what the provider says it charged. */
  readonly used: Pick<Used, "units" | "cost">;
}

const PROVIDERS: readonly Compatible[] = [
  {
    id: "groq",
    host: "api.groq.com",
    path: "/openai/v1",
    prefix: "gsk_",
    keyLength: 56,
    stream: GROQ_STREAM,
    used: { units: { input: 20, output: 3 }, cost: 20 * 1000 + 3 * 4000 },
  },
  {
    id: "deepseek",
    host: "api.deepseek.com",
    path: "",
    prefix: "sk-",
    keyLength: 35,
    stream: `: keep-alive\n\n: keep-alive\n\n${DEEPSEEK_STREAM}`,
    used: { units: { input: 4, cached_input: 16, output: 2, reasoning: 1 }, cost: 4 * 1000 + 16 * 500 + 3 * 4000 },
  },
  {
    id: "openrouter",
    host: "openrouter.ai",
    path: "/api/v1",
    prefix: "sk-or-v1-",
    keyLength: 73,
    stream: `: OPENROUTER PROCESSING\n\n${OPENROUTER_STREAM}`,
    used: { units: { input: 20, output: 3 }, cost: 140_000 },
  },
  {
    id: "xai",
    host: "api.x.ai",
    path: "/v1",
    prefix: "xai-",
    keyLength: 84,
    stream: XAI_STREAM,
    used: {
      units: { input: 21, cached_input: 192, output: 27, reasoning: 133, web_search: 3, tool_call: 3 },
      cost: 3_775_601,
    },
  },
];

/** xAI reports usage when it is asked, the others always. */
function streaming(transcript: string, onlyWhenAsked: boolean): StandInHandler {
  const silent = transcript
    .split("\n\n")
    .filter((event) => !event.includes('"usage":{'))
    .join("\n\n");
  return (request) => {
    const asked = jsonBody(request).stream_options !== undefined;
    const body = Buffer.from(onlyWhenAsked && !asked ? silent : transcript, "utf8");
    return { headers: { "content-type": "text/event-stream" }, body: [body.subarray(0, 150), body.subarray(150)] };
  };
}

for (const { id, host, path, prefix, keyLength, stream, used } of PROVIDERS) {
  test(`${id}: the SDK gets through sidekey what it gets without it, and its usage is exact`, TIMEOUT, async (t) => {
    const key = `${prefix}${randomBytes(64).toString("hex")}`.slice(0, keyLength);
    const handler = streaming(stream, id === "xai");
    const prices = `version: 1
table: test
providers:
  ${id}: { models: [{ names: ["*"], prices: [{ from: 2020-01-01, input: 1, cached_input: 0.5, output: 4 }] }] }
`;
    const scene = await startSdkScene(t, { id, host, key, handler, prices });
    const clientOf = ({ origin, key: apiKey, fetch }: Way) =>
      new OpenAI({ baseURL: `${origin}${path}`, apiKey, fetch, maxRetries: 0 });
    const record: Used = { operation: "chat", model: ANSWERED, quality: "exact", partial: false, ...used };
    const calls: readonly Calls<OpenAI>[] = [
      {
        name: "stream",
        call: async (client) => {
          const messages = [{ role: "user" as const, content: "grüße" }];
          const chunks: unknown[] = [];
          for await (const chunk of await client.chat.completions.create({ model: "m", messages, stream: true })) {
            chunks.push(chunk);
          }
          return chunks;
        },
        used: [record],
      },
    ];
    const results = await sameEveryWay(scene, clientOf, calls);
    assert.ok((results.stream as unknown[]).length >= 2);
  });
}

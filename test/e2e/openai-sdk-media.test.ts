import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { sha256 } from "../clients/support/answer-parts.ts";
import { openAiClient, openAiProvider } from "./openai-provider.ts";
import { type Calls, exactly, sameEveryWay, startSdkScene, unused } from "./sdk-scene.ts";

/** Everything of the OpenAI SDK but text: vectors, pictures, sound, files, lists and errors. */

const TIMEOUT = { timeout: 60_000 };
const TEXT = "Guten Tag ✓";
const RECORDING = Buffer.alloc(160_000, "RIFF....WAVE\r\n--");

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const MEDIA: readonly Calls<OpenAI>[] = [
  {
    name: "embeddings",
    call: (client) => client.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] }),
    used: [exactly("embeddings", "text-embedding-3-small", { input: 8 }, 8 * 20)],
  },
  {
    name: "embeddings as numbers",
    call: (client) =>
      client.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"], encoding_format: "float" }),
    used: [exactly("embeddings", "text-embedding-3-small", { input: 8 }, 8 * 20)],
  },
  {
    name: "picture",
    call: (client) => client.images.generate({ model: "gpt-image-1", prompt: "ein Bär" }),
    used: [
      exactly(
        "images",
        "gpt-image-1",
        { input: 10, input_image: 40, output_image: 1056 },
        10 * 5000 + 40 * 10_000 + 1056 * 40_000,
      ),
    ],
  },
  {
    name: "speech",
    call: async (client) => {
      const answer = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: TEXT });
      return [answer.headers.get("content-type"), Buffer.from(await answer.arrayBuffer())];
    },
    used: [exactly("speech", "tts-1", { character: TEXT.length }, TEXT.length * 15_000)],
  },
  {
    name: "transcription",
    call: (client) =>
      client.audio.transcriptions.create({ model: "whisper-1", file: new File([RECORDING], "aufnahme.wav") }),
    used: [{ ...exactly("transcription", "", { second: 9 }, 9 * 100_000), model: null }],
  },
  {
    name: "file",
    call: (client) => client.files.create({ purpose: "assistants", file: new File([RECORDING], "notes.txt") }),
    used: [unused("free")],
  },
];

const LISTS: readonly Calls<OpenAI>[] = [
  { name: "models", call: (client) => all(client.models.list()), used: [unused("free")] },
  {
    name: "files",
    call: (client) => all(client.files.list({ limit: 2 })),
    used: [unused("free"), unused("free"), unused("free")],
  },
];

/** What a service sees of an error. */
async function failure(failing: () => Promise<unknown>): Promise<unknown[]> {
  try {
    return ["no error", await failing()];
  } catch (error) {
    assert.ok(error instanceof OpenAI.APIError, String(error));
    const { status, type, message, code, param, requestID, headers } = error;
    const names = ["retry-after", "retry-after-ms", "x-ratelimit-remaining-requests", "x-request-id"];
    const told = names.map((name) => headers?.get(name));
    return [error.constructor.name, status, type, message, code, param, requestID, error.error, told];
  }
}

const ERRORS = {
  400: "BadRequestError",
  401: "AuthenticationError",
  404: "NotFoundError",
  429: "RateLimitError",
  500: "InternalServerError",
};

for (const coding of ["identity", "gzip"] as const) {
  test(`vectors, pictures, sound and files in ${coding} are those of the provider`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await startSdkScene(t, { ...openAiProvider, coding }), openAiClient, MEDIA);
    const { data } = results.embeddings as OpenAI.CreateEmbeddingResponse;
    assert.deepEqual([data.length, data[1]?.embedding.length], [2, 1536]);
    assert.equal((results.speech as [string, Buffer])[1].length, 5000);
    const { text } = results.transcription as { text: string };
    assert.equal(text, `aufnahme.wav ${RECORDING.length} ${sha256(RECORDING)}`);
  });
}

test("pages of lists follow each other, and cost nothing", TIMEOUT, async (t) => {
  const results = await sameEveryWay(await startSdkScene(t, openAiProvider), openAiClient, LISTS);
  assert.deepEqual([(results.models as unknown[]).length, (results.files as unknown[]).length], [2, 5]);
});

for (const [status, name] of Object.entries(ERRORS)) {
  test(`a ${status} is the same ${name} of the SDK, and used nothing`, TIMEOUT, async (t) => {
    const model = `fails-${status}`;
    const messages = [{ role: "user" as const, content: "grüße" }];
    const call = (client: OpenAI) => failure(() => client.chat.completions.create({ model, messages }));
    const scene = await startSdkScene(t, openAiProvider);
    const results = await sameEveryWay(scene, openAiClient, [{ name, call, used: [unused("chat", model)] }]);
    assert.deepEqual((results[name] as unknown[]).slice(0, 2), [name, Number(status)]);
  });
}

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { openAiEvents } from "./openai-events.ts";
import { openAiClient, openAiProvider, RESPONSE } from "./openai-provider.ts";
import { type Calls, exactly, sameEveryWay, startSdkScene, type Used, unused } from "./sdk-scene.ts";

/** The OpenAI SDK's other streams, and responses that do not end well. */

const TIMEOUT = { timeout: 60_000 };

async function all(items: Promise<AsyncIterable<unknown>>): Promise<unknown[]> {
  const list: unknown[] = [];
  try {
    for await (const item of await items) list.push(item);
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    list.push([error.constructor.name, error.status, error.code, error.message]);
  }
  return list;
}

const respond = (model: string) => (client: OpenAI) =>
  all(client.responses.create({ model, input: "grüße", stream: true }));

const OTHER_STREAMS: readonly Calls<OpenAI>[] = [
  {
    name: "completion",
    call: (client) =>
      all(client.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: "Hallo", stream: true })),
    used: [exactly("completions", "gpt-3.5-turbo-instruct", { input: 5, output: 7 }, 5 * 1500 + 7 * 2000)],
  },
  {
    name: "picture",
    call: (client) =>
      all(client.images.generate({ model: "gpt-image-1", prompt: "ein Bär", stream: true, partial_images: 1 })),
    used: [
      exactly(
        "images",
        "gpt-image-1",
        { input: 10, input_image: 40, output_image: 50 },
        10 * 5000 + 40 * 10_000 + 50 * 40_000,
      ),
    ],
  },
  {
    name: "speech",
    call: async (client) => {
      const voice = { model: "gpt-4o-mini-tts", voice: "alloy", input: "Guten Tag", stream_format: "sse" } as const;
      return (await client.audio.speech.create(voice)).text();
    },
    used: [exactly("speech", "gpt-4o-mini-tts", { input: 14, output_audio: 101 }, 14 * 600 + 101 * 12_000)],
  },
  {
    // The model of a form is not read: the call has no price.
    name: "transcript",
    call: (client) => {
      const file = new File([Buffer.alloc(1000)], "aufnahme.wav");
      return all(client.audio.transcriptions.create({ model: "gpt-4o-transcribe", file, stream: true }));
    },
    used: [
      {
        operation: "transcription",
        model: null,
        quality: "exact",
        partial: false,
        units: { input: 3, input_audio: 11, output: 45 },
        cost: null,
      },
    ],
  },
];

const searched: Used = {
  ...RESPONSE,
  units: { ...RESPONSE.units, web_search: 1 },
  cost: (RESPONSE.cost ?? 0) + 10_000_000,
};

const ENDS: readonly Calls<OpenAI>[] = [
  { name: "searches", call: respond("searches"), used: [searched] },
  { name: "incomplete", call: respond("incomplete"), used: [RESPONSE] },
  { name: "failed", call: respond("failed"), used: [unused("responses", "gpt-4o-2024-08-06")] },
  { name: "error", call: respond("error"), used: [unused("responses", "gpt-4o-2024-08-06")] },
];

for (const coding of ["identity", "gzip"] as const) {
  const provider = { ...openAiProvider, handler: openAiEvents, coding };

  test(`completions, pictures, speech and transcripts in ${coding} as streams`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await startSdkScene(t, provider), openAiClient, OTHER_STREAMS);
    assert.deepEqual(
      ["completion", "picture", "transcript"].map((name) => (results[name] as unknown[]).length),
      [4, 2, 4],
    );
  });

  test(`responses in ${coding} that search, stop early and fail`, TIMEOUT, async (t) => {
    const results = await sameEveryWay(await startSdkScene(t, provider), openAiClient, ENDS);
    for (const { name } of ENDS) assert.equal((results[name] as unknown[]).length, 2, name);
  });
}

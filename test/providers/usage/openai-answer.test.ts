import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openAi, openAiShaped } from "../../../src/providers/usage/openai.ts";
import { CHAT_ANSWER } from "./openai-transcripts.ts";
import { type Call, EVENTS, eventsOf, figureAt, figureOf } from "./reading.ts";

const CHAT = {
  path: "/v1/chat/completions",
  request: { model: "gpt-5-mini", messages: [{ role: "user", content: "Say hi" }] },
};

describe("everything else that OpenAI bills", () => {
  const cases: readonly (readonly [string, Call, object, string])[] = [
    [
      "legacy completions",
      {
        path: "/v1/completions",
        request: { model: "m", prompt: "x" },
        answer: '{"choices":[{"text":"a"}],"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}',
      },
      { request: 1, input: 2, output: 1 },
      "exact",
    ],
    [
      "embeddings",
      {
        path: "/v1/embeddings",
        request: { input: "x" },
        answer: '{"data":[{"embedding":[0.1,-2e-5]}],"usage":{"prompt_tokens":8,"total_tokens":8}}',
      },
      { request: 1, input: 8 },
      "exact",
    ],
    [
      "embeddings without usage",
      { path: "/v1/embeddings", request: { input: "12345678" }, answer: '{"data":[]}' },
      { request: 1, input: 5 },
      "estimated",
    ],
    [
      "pictures by tokens",
      {
        path: "/v1/images/generations",
        request: { model: "gpt-image-1", prompt: "x" },
        answer:
          '{"data":[{"b64_json":"usage"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}',
      },
      { request: 1, input: 10, input_image: 40, output_image: 50 },
      "exact",
    ],
    [
      "pictures by number",
      {
        path: "/v1/images/generations",
        request: { model: "dall-e-3", prompt: "x" },
        answer: '{"created":1,"data":[{"url":"u"},{"url":"v"}]}',
      },
      { request: 1, image: 2 },
      "exact",
    ],
    [
      "transcripts by tokens",
      {
        path: "/v1/audio/transcriptions",
        requestType: "multipart/form-data; boundary=x",
        answer:
          '{"text":"hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,"total_tokens":59}}',
      },
      { request: 1, input: 4, input_audio: 10, output: 45 },
      "exact",
    ],
    [
      "transcripts by duration",
      {
        path: "/v1/audio/translations",
        requestType: "multipart/form-data",
        answer: '{"text":"hi","usage":{"type":"duration","seconds":8.47}}',
      },
      { request: 1, second: 9 },
      "exact",
    ],
    [
      "transcripts that tell how long they are",
      {
        path: "/v1/audio/transcriptions",
        requestType: "multipart/form-data",
        answer: '{"task":"transcribe","duration":8.0,"text":"hi"}',
      },
      { request: 1, second: 8 },
      "exact",
    ],
    [
      "streamed transcripts",
      {
        path: "/v1/audio/transcriptions",
        requestType: "multipart/form-data",
        type: EVENTS,
        answer: eventsOf(
          { type: "transcript.text.delta", delta: "hi" },
          {
            type: "transcript.text.done",
            text: "hi",
            usage: { type: "tokens", input_tokens: 3, output_tokens: 2, total_tokens: 5 },
          },
        ),
      },
      { request: 1, input: 3, output: 2 },
      "exact",
    ],
    [
      "speech by characters",
      {
        path: "/v1/audio/speech",
        request: { model: "tts-1", input: "h\u00e9llo \u{1f600}" },
        type: "audio/mpeg",
        answer: Buffer.from('{"usage"'),
      },
      { request: 1, character: 7 },
      "exact",
    ],
    [
      "speech by tokens",
      {
        path: "/v1/audio/speech",
        request: { model: "gpt-4o-mini-tts", input: "hello", stream_format: "sse" },
        type: EVENTS,
        answer: eventsOf(
          { type: "speech.audio.delta", audio: "AAAA" },
          { type: "speech.audio.done", usage: { input_tokens: 14, output_tokens: 101, total_tokens: 115 } },
        ),
      },
      { request: 1, input: 14, output_audio: 101 },
      "exact",
    ],
    [
      "speech that does not tell",
      {
        path: "/v1/audio/speech",
        request: { model: "gpt-4o-mini-tts", input: "x".repeat(150) },
        type: "audio/mpeg",
        answer: "\0\x01",
      },
      { request: 1, input: 38, output_audio: 210 },
      "estimated",
    ],
    [
      "moderations",
      { path: "/v1/moderations", request: { input: "x" }, answer: '{"id":"modr","results":[]}' },
      { request: 1 },
      "none",
    ],
    [
      "moderations that are billed",
      {
        path: "/v1/moderations",
        request: { input: "x" },
        answer: '{"usage":{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9}}',
      },
      { request: 1, input: 9 },
      "exact",
    ],
    [
      "files",
      { path: "/v1/files", requestType: "multipart/form-data", answer: '{"usage":{"prompt_tokens":9}}' },
      { request: 1 },
      "none",
    ],
    [
      "what is not known",
      { path: "/v1/new/thing", request: {}, answer: '{"usage":{"prompt_tokens":9}}' },
      { request: 1 },
      "none",
    ],
  ];
  for (const [name, call, units, quality] of cases) {
    test(name, () => {
      const figure = figureOf(openAi, call);
      assert.deepEqual([figure.units, figure.quality, figure.partial], [units, quality, false]);
    });
  }

  test("errors use nothing, whatever they say", () => {
    for (const status of [301, 400, 401, 429, 500, 503]) {
      const figure = figureAt(openAi, { ...CHAT, status, answer: CHAT_ANSWER });
      assert.deepEqual(figure, {
        model: "gpt-5-mini",
        tier: null,
        units: { request: 1 },
        quality: "none",
        partial: false,
        charged: null,
        failure: null,
      });
    }
  });

  test("messages in Anthropic's shape are read by its rules", () => {
    const answer =
      '{"type":"message","model":"deepseek-chat","content":[],"usage":{"input_tokens":5,"cache_read_input_tokens":7,"output_tokens":2}}';
    const figure = figureOf(openAiShaped, { path: "/anthropic/v1/messages", request: { model: "m" }, answer });
    assert.deepEqual([figure.units, figure.quality], [{ request: 1, input: 5, cached_input: 7, output: 2 }, "exact"]);
  });
});

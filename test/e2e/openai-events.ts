import { eventStream, jsonBody } from "../clients/support/answer-parts.ts";
import type { ReceivedRequest, StandInAnswer } from "../support/stand-in.ts";
import { responseAnswer } from "./openai-responses.ts";

/** Streams of OpenAI's API besides plain chats and responses, as its reference shows them; the path and model say which. */

type NamedEvent = readonly [type: string, more: object];

function named(events: readonly NamedEvent[], last = ""): StandInAnswer {
  return eventStream(
    events.map(([type, more]) => ({ event: type, data: { type, ...more } })),
    last,
  );
}

export function openAiEvents(request: ReceivedRequest): StandInAnswer {
  const path = request.target.split("?")[0];
  if (path === "/v1/audio/transcriptions") return named(TRANSCRIPT, "data: [DONE]\n\n");
  const body = jsonBody(request);
  if (path === "/v1/audio/speech") return named(SPEECH);
  if (path === "/v1/images/generations") return named(PICTURE);
  if (path === "/v1/completions") return completion(body);
  if (path === "/v1/responses") return named(RESPONSES[String(body.model)] ?? []);
  return { status: 404 };
}

const TRANSCRIPT: readonly NamedEvent[] = [
  ...["Guten", " Tag", " ✓"].map((delta): NamedEvent => ["transcript.text.delta", { delta }]),
  [
    "transcript.text.done",
    {
      text: "Guten Tag ✓",
      usage: {
        type: "tokens",
        total_tokens: 59,
        input_tokens: 14,
        input_token_details: { text_tokens: 3, audio_tokens: 11 },
        output_tokens: 45,
      },
    },
  ],
];

const SPEECH: readonly NamedEvent[] = [
  ...["//PExAAAAA", "AAAAAAAAAA"].map((audio): NamedEvent => ["speech.audio.delta", { audio }]),
  ["speech.audio.done", { usage: { input_tokens: 14, output_tokens: 101, total_tokens: 115 } }],
];

const IMAGE = {
  created_at: 1_620_000_000,
  size: "1024x1024",
  quality: "high",
  background: "opaque",
  output_format: "png",
};
const PIXELS = Buffer.alloc(20_000, "picture").toString("base64");
const PICTURE: readonly NamedEvent[] = [
  ["image_generation.partial_image", { b64_json: PIXELS.slice(0, 4000), ...IMAGE, partial_image_index: 0 }],
  [
    "image_generation.completed",
    {
      b64_json: PIXELS,
      ...IMAGE,
      usage: {
        total_tokens: 100,
        input_tokens: 50,
        output_tokens: 50,
        input_tokens_details: { text_tokens: 10, image_tokens: 40 },
      },
    },
  ],
];

function completion(body: Record<string, unknown>): StandInAnswer {
  const asked = (body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true;
  const chunk = (choices: readonly object[], usage: object | null) => ({
    data: {
      id: "cmpl-1",
      object: "text_completion",
      created: 1_589_478_378,
      choices,
      model: "gpt-3.5-turbo-instruct",
      ...(asked ? { usage } : {}),
    },
  });
  const parts = ["\n\nDas", " ist", " ein Test ✓"];
  const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 };
  const choice = (text: string, finish: string | null) => [{ text, index: 0, logprobs: null, finish_reason: finish }];
  const chunks = [...parts.map((text) => chunk(choice(text, null), null)), chunk(choice("", "stop"), null)];
  return eventStream([...chunks, ...(asked ? [chunk([], usage)] : [])], "data: [DONE]\n\n");
}

const begun: NamedEvent = ["response.created", { sequence_number: 0, response: responseAnswer("in_progress") }];
const search = (id: string, action: object): object => ({ id, type: "web_search_call", status: "completed", action });
const SEARCHED = [
  search("ws_1", { type: "search", query: "wetter münchen", sources: null }),
  search("ws_2", { type: "open_page", url: "https://example.com" }),
];
const cutShort = { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } };
const broken = {
  status: "failed",
  error: { code: "server_error", message: "The model failed." },
  usage: null,
  output: [],
};

/** How a response ends, by the model that was asked for. */
const RESPONSES: Readonly<Record<string, readonly NamedEvent[]>> = {
  searches: [
    begun,
    ["response.completed", { sequence_number: 1, response: { ...responseAnswer("completed"), output: SEARCHED } }],
  ],
  incomplete: [
    begun,
    ["response.incomplete", { sequence_number: 1, response: { ...responseAnswer("completed"), ...cutShort } }],
  ],
  failed: [begun, ["response.failed", { sequence_number: 1, response: { ...responseAnswer("completed"), ...broken } }]],
  error: [
    begun,
    ["error", { sequence_number: 1, code: "server_error", message: "Something went wrong.", param: null }],
  ],
};

import { eventStream, jsonBody, uploadedFile } from "../clients/support/answer-parts.ts";
import type { ReceivedRequest, StandInAnswer } from "../support/stand-in.ts";
import { responseAnswer, responseEvents } from "./openai-responses.ts";

/** OpenAI's API as its reference shows it (https://developers.openai.com/api/reference): fields, order and framing. */

const CREATED = 1_741_570_283;
const FIELDS = {
  "content-type": "application/json",
  "openai-organization": "org-of-tests",
  "openai-processing-ms": "318",
  "openai-version": "2020-10-01",
  "x-ratelimit-limit-requests": "10000",
  "x-ratelimit-remaining-requests": "9999",
  "x-ratelimit-reset-requests": "6ms",
  "x-request-id": "req_4f6f17ae33ef4c8d9d9b1b4d4f1f7a3c",
  "cf-ray": "91e7d0c5ac3e3f2f-FRA",
  "set-cookie": ["__cf_bm=first; path=/; HttpOnly", "_cfuvid=second; path=/; HttpOnly"],
};
const CHAT = {
  created: CREATED,
  model: "gpt-4o-2024-08-06",
  service_tier: "default",
  system_fingerprint: "fp_fc9f1d7035",
};

const CHAT_USAGE = {
  prompt_tokens: 1117,
  completion_tokens: 46,
  total_tokens: 1163,
  prompt_tokens_details: { cached_tokens: 1024, audio_tokens: 0 },
  completion_tokens_details: {
    reasoning_tokens: 12,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};

type Body = Record<string, unknown>;

/** Written as the API writes it: with line feeds and blanks. */
function document(value: unknown, status = 200, fields: Readonly<Record<string, string>> = {}): StandInAnswer {
  const body = Buffer.from(`${JSON.stringify(value, null, 2)}\n`, "utf8");
  return { status, headers: { ...FIELDS, ...fields }, body };
}

const POSTED: Readonly<Record<string, (body: Body) => StandInAnswer>> = {
  "/v1/chat/completions": (body) =>
    body.stream === true ? eventStream(chatEvents(body), "data: [DONE]\n\n") : document(chatCompletion()),
  "/v1/responses": (body) =>
    body.stream === true ? eventStream(responseEvents()) : document(responseAnswer("completed")),
  "/v1/embeddings": embeddings,
  "/v1/images/generations": images,
  "/v1/audio/speech": () => ({
    headers: { ...FIELDS, "content-type": "audio/mpeg" },
    body: [SPEECH.subarray(0, 1000), SPEECH.subarray(1000)],
  }),
};

export function openAiAnswer(request: ReceivedRequest): StandInAnswer {
  const [path = "", query = ""] = request.target.split("?");
  if (request.method === "GET" && path === "/v1/models") return document(MODELS);
  if (request.method === "GET" && path === "/v1/files") return document(filesPage(new URLSearchParams(query)));
  if (request.method === "POST" && path === "/v1/files") return document(file(request));
  if (request.method === "POST" && path === "/v1/audio/transcriptions") return transcription(request);
  if (request.method !== "POST") return failure(404);
  const body = jsonBody(request);
  const asked = /^fails-(\d{3})$/.exec(String(body.model))?.[1];
  return asked === undefined ? (POSTED[path]?.(body) ?? failure(404)) : failure(Number(asked));
}

const FAILURES: Readonly<
  Record<number, readonly [message: string, type: string, param: string | null, code: string | null]>
> = {
  400: ["Invalid type for 'messages': expected an array.", "invalid_request_error", "messages", "invalid_type"],
  401: [
    "Incorrect API key provided: sk-****4x7. You can find your API key at …",
    "invalid_request_error",
    null,
    "invalid_api_key",
  ],
  404: [
    "The model `gpt-9` does not exist or you do not have access to it.",
    "invalid_request_error",
    null,
    "model_not_found",
  ],
  429: [
    "Rate limit reached for gpt-4o in organization org-of-tests on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20ms.",
    "requests",
    null,
    "rate_limit_exceeded",
  ],
  500: ["The server had an error while processing your request. Sorry about that!", "server_error", null, null],
};

function failure(status: number): StandInAnswer {
  const [message, type, param, code] = FAILURES[status] ?? ["?", "?", null, null];
  const limited = {
    "retry-after": "1",
    "retry-after-ms": "20",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "20ms",
  };
  return document({ error: { message, type, param, code } }, status, status === 429 ? limited : {});
}

function chatCompletion(): object {
  const message = { role: "assistant", content: ANSWER, refusal: null, annotations: [] };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: "stop" }];
  const { created, model, ...rest } = CHAT;
  return { id: "chatcmpl-1", object: "chat.completion", created, model, choices, usage: CHAT_USAGE, ...rest };
}

const ANSWER = 'Grüße aus München — 日本 ✓, und ein "Zitat" mit \\ darin.';

/** A delta at a time, as text and as a call of a tool in pieces. */
const TEXT_DELTAS = [
  { role: "assistant", content: "", refusal: null },
  ...ANSWER.split(/(?= )/).map((content) => ({ content })),
];
const called = (index: number, more: object): object => ({ tool_calls: [{ index, ...more }] });
const TOOL_DELTAS = [
  {
    role: "assistant",
    content: null,
    ...called(0, { id: "call_1", type: "function", function: { name: "get_weather", arguments: "" } }),
  },
  ...['{"', "city", '":"', "Mün", "chen", '"}'].map((part) => called(0, { function: { arguments: part } })),
  called(1, { id: "call_2", type: "function", function: { name: "get_time", arguments: "" } }),
  ...['{"zone"', ':"Europe/Berlin"', "}"].map((part) => called(1, { function: { arguments: part } })),
];

/** A model that may use tools does, until it has heard from one. */
function usesTools({ tools, messages }: Body): boolean {
  return tools !== undefined && (messages as { role?: string }[]).at(-1)?.role !== "tool";
}

/** With `include_usage` every chunk has a usage, and one more comes before the end. */
export function chatEvents(body: Body): { data: object }[] {
  const asked = (body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true;
  const chunk = (choices: readonly object[], usage: object | null) => ({
    data: {
      id: "chatcmpl-2",
      object: "chat.completion.chunk",
      ...CHAT,
      choices,
      ...(asked ? { usage } : {}),
      obfuscation: "aQ3Xk9",
    },
  });
  const choice = (delta: object, finish: string | null) => [{ index: 0, delta, logprobs: null, finish_reason: finish }];
  const uses = usesTools(body);
  const deltas = uses ? TOOL_DELTAS : TEXT_DELTAS;
  return [
    ...deltas.map((delta) => chunk(choice(delta, null), null)),
    chunk(choice({}, uses ? "tool_calls" : "stop"), null),
    ...(asked ? [chunk([], CHAT_USAGE)] : []),
  ];
}

/** 1536 numbers, as base64 of little-endian floats when asked like that, which the SDK does. */
const VECTOR = Float32Array.from({ length: 1536 }, (_, at) => Math.fround(Math.sin(at) / 40));

function embeddings(body: Body): StandInAnswer {
  const embedding = body.encoding_format === "base64" ? Buffer.from(VECTOR.buffer).toString("base64") : [...VECTOR];
  const data = [body.input].flat().map((_, index) => ({ object: "embedding", index, embedding }));
  const usage = { prompt_tokens: 8, total_tokens: 8 };
  return document({ object: "list", data, model: "text-embedding-3-small", usage });
}

function images(): StandInAnswer {
  return document({
    created: CREATED,
    background: "opaque",
    data: [{ b64_json: Buffer.alloc(30_000, "picture").toString("base64") }],
    output_format: "png",
    quality: "medium",
    size: "1024x1024",
    usage: {
      input_tokens: 50,
      input_tokens_details: { image_tokens: 40, text_tokens: 10 },
      output_tokens: 1056,
      total_tokens: 1106,
    },
  });
}

const SPEECH = Buffer.from(Array.from({ length: 5000 }, (_, at) => (at * 31 + (at >> 5)) & 0xff));

function transcription(request: ReceivedRequest): StandInAnswer {
  const { name, size, sha256 } = uploadedFile(request);
  return document({ text: `${name} ${size} ${sha256}`, usage: { type: "duration", seconds: 9 } });
}

const MODELS = {
  object: "list",
  data: ["gpt-4o", "whisper-1"].map((id) => ({ id, object: "model", created: CREATED, owned_by: "system" })),
};

const fileNamed = (id: string, filename: string, bytes: number): object => ({
  id,
  object: "file",
  bytes,
  created_at: CREATED,
  expires_at: null,
  filename,
  purpose: "assistants",
  status: "processed",
});

function file(request: ReceivedRequest): object {
  const { name, size, sha256 } = uploadedFile(request);
  return fileNamed(`file-${sha256}`, name, size);
}

/** Two pages of two, and a third with one. */
function filesPage(query: URLSearchParams): object {
  const all = ["file-1", "file-2", "file-3", "file-4", "file-5"];
  const from = all.indexOf(query.get("after") ?? "") + 1;
  const data = all.slice(from, from + 2);
  const page = data.map((id) => fileNamed(id, `${id}.txt`, 12));
  return { object: "list", data: page, first_id: data[0], last_id: data.at(-1), has_more: from + 2 < all.length };
}

import type { ReceivedRequest, StandInAnswer } from "../../support/stand-in.ts";
import { eventStream, json, jsonBody, uploadedFile, words } from "./answer-parts.ts";

/** What every chat answers: shows that the request's own text came through, with bytes beyond ASCII. */
export function echo(text: string): string {
  return `You said: ${text} — très bien, 日本 ✓`;
}

const CREATED = 1_760_000_000;

/** The status that a model named `fails-429` asks for. */
function failure(body: Record<string, unknown>): number | null {
  const asked = /^fails-(\d{3})$/.exec(String(body.model))?.[1];
  return asked === undefined ? null : Number(asked);
}

function lastText(messages: unknown): string {
  const last = (messages as { content?: unknown }[]).at(-1)?.content;
  if (typeof last === "string") return last;
  return (last as { text?: string }[] | undefined)?.map(({ text }) => text ?? "").join("") ?? "";
}

/** As much of OpenAI's API as the clients' tests use. */
export function openaiAnswer(request: ReceivedRequest): StandInAnswer {
  const called = `${request.method} ${request.target.split("?")[0]}`;
  if (called === "GET /v1/models") {
    return json({ object: "list", data: [{ id: "gpt-test", object: "model", created: CREATED, owned_by: "openai" }] });
  }
  if (called === "POST /v1/files") {
    const { name, size, sha256 } = uploadedFile(request);
    const meta = { object: "file", created_at: CREATED, purpose: "assistants", status: "processed" };
    return json({ id: `file-${sha256}`, bytes: size, filename: name, ...meta });
  }
  if (request.method !== "POST") return openaiError(404);
  const body = jsonBody(request);
  const status = failure(body);
  if (status !== null) return openaiError(status);
  if (called === "POST /v1/chat/completions") return chatCompletion(body);
  if (called === "POST /v1/responses") return responsesAnswer(body);
  return openaiError(404);
}

function openaiError(status: number): StandInAnswer {
  const code = status === 401 ? "invalid_api_key" : status === 429 ? "rate_limit_exceeded" : null;
  return json({ error: { message: `OpenAI says ${status}`, type: "test_error", param: null, code } }, status);
}

function chatCompletion(body: Record<string, unknown>): StandInAnswer {
  const text = echo(lastText(body.messages));
  const common = { id: "chatcmpl-1", created: CREATED, model: body.model, system_fingerprint: "fp_1" };
  const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 };
  if (body.stream !== true) {
    const choice = { index: 0, message: { role: "assistant", content: text }, logprobs: null, finish_reason: "stop" };
    return json({ ...common, object: "chat.completion", choices: [choice], usage });
  }
  const chunk = (delta: object, finish: string | null, more: object = {}) => ({
    data: {
      ...common,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...more,
    },
  });
  const wantsUsage = (body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true;
  return eventStream(
    [
      chunk({ role: "assistant", content: "" }, null),
      ...words(text).map((word) => chunk({ content: word }, null)),
      chunk({}, "stop"),
      ...(wantsUsage ? [{ data: { ...common, object: "chat.completion.chunk", choices: [], usage } }] : []),
    ],
    "data: [DONE]\n\n",
  );
}

function responsesAnswer(body: Record<string, unknown>): StandInAnswer {
  const text = echo(typeof body.input === "string" ? body.input : lastText(body.input));
  const part = { type: "output_text", text, annotations: [], logprobs: [] };
  const message = { id: "msg_1", type: "message", role: "assistant", status: "completed", content: [part] };
  const response = (status: string, output: readonly object[]) => ({
    id: "resp_1",
    object: "response",
    created_at: CREATED,
    status,
    model: body.model,
    output,
    error: null,
    incomplete_details: null,
    instructions: null,
    metadata: {},
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: "auto",
    tools: [],
    top_p: 1,
    ...(status === "completed" ? { usage: RESPONSES_USAGE } : {}),
  });
  if (body.stream !== true) return json(response("completed", [message]));
  let order = 0;
  const event = (type: string, more: object) => ({ event: type, data: { type, sequence_number: order++, ...more } });
  const place = { item_id: "msg_1", output_index: 0, content_index: 0 };
  return eventStream([
    event("response.created", { response: response("in_progress", []) }),
    event("response.output_item.added", {
      output_index: 0,
      item: { ...message, status: "in_progress", content: [] },
    }),
    event("response.content_part.added", { ...place, part: { ...part, text: "" } }),
    ...words(text).map((delta) => event("response.output_text.delta", { ...place, delta, logprobs: [] })),
    event("response.output_text.done", { ...place, text, logprobs: [] }),
    event("response.content_part.done", { ...place, part }),
    event("response.output_item.done", { output_index: 0, item: message }),
    event("response.completed", { response: response("completed", [message]) }),
  ]);
}

const RESPONSES_USAGE = {
  input_tokens: 5,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 12,
};

/** As much of Anthropic's API as the clients' tests use. */
export function anthropicAnswer(request: ReceivedRequest): StandInAnswer {
  const called = `${request.method} ${request.target.split("?")[0]}`;
  if (request.values("anthropic-version").length !== 1) return anthropicError(400, "invalid_request_error");
  if (called === "POST /v1/files") {
    const { name, size, sha256 } = uploadedFile(request);
    const meta = { type: "file", created_at: "2026-01-01T00:00:00Z", mime_type: "text/plain", downloadable: false };
    return json({ id: `file_${sha256}`, size_bytes: size, filename: name, ...meta });
  }
  if (called === "GET /v1/models") return json({ data: [], has_more: false });
  if (called !== "POST /v1/messages") return anthropicError(404, "not_found_error");
  const body = jsonBody(request);
  const status = failure(body);
  if (status !== null) return anthropicError(status, ANTHROPIC_ERRORS[status] ?? "api_error");
  return message(body);
}

const ANTHROPIC_ERRORS: Readonly<Record<number, string>> = { 401: "authentication_error", 429: "rate_limit_error" };

function anthropicError(status: number, type: string): StandInAnswer {
  const error = { type, message: `Anthropic says ${status}` };
  // Without Retry-After its 429 means that the month's money is used up.
  const limited = status === 429 ? { "retry-after": "1" } : {};
  return json({ type: "error", error, request_id: "req_1" }, status, { "request-id": "req_1", ...limited });
}

function message(body: Record<string, unknown>): StandInAnswer {
  const text = echo(lastText(body.messages));
  const whole = (content: readonly object[], stop: string | null) => ({
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: body.model,
    content,
    stop_reason: stop,
    stop_sequence: null,
    usage: { input_tokens: 5, output_tokens: stop === null ? 1 : 7 },
  });
  if (body.stream !== true) return json(whole([{ type: "text", text, citations: null }], "end_turn"));
  const event = (type: string, more: object) => ({ event: type, data: { type, ...more } });
  return eventStream([
    event("message_start", { message: whole([], null) }),
    event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
    event("ping", {}),
    ...words(text).map((word) => event("content_block_delta", { index: 0, delta: { type: "text_delta", text: word } })),
    event("content_block_stop", { index: 0 }),
    event("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 7 } }),
    event("message_stop", {}),
  ]);
}

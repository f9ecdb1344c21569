import { eventStream, jsonBody } from "../clients/support/answer-parts.ts";
import type { ReceivedRequest, StandInAnswer } from "../support/stand-in.ts";

/** Anthropic's Messages API as its documentation shows it (https://platform.claude.com/docs/en/build-with-claude/streaming). */

const FIELDS = {
  "content-type": "application/json",
  "request-id": "req_018EeWyXxfu5pfWkrYcMdjWG",
  "anthropic-organization-id": "b1a0c2de-organization",
  "anthropic-ratelimit-requests-limit": "4000",
  "anthropic-ratelimit-requests-remaining": "3999",
  "anthropic-ratelimit-requests-reset": "2036-01-01T00:00:00Z",
};

const START = {
  input_tokens: 472,
  cache_creation_input_tokens: 300,
  cache_read_input_tokens: 1000,
  cache_creation: { ephemeral_5m_input_tokens: 200, ephemeral_1h_input_tokens: 100 },
  inference_geo: "global",
  output_tokens: 2,
  output_tokens_details: null,
  server_tool_use: null,
  service_tier: "standard",
  speed: null,
};
const OUTPUT = { output_tokens: 89, output_tokens_details: { thinking_tokens: 20 } };
/** Of the fields that these answers have; the SDK asks for it by itself. */
const VERSION = "2026-10-21";

export const TEXT = "Okay, let's check the weather in München — 日本 ✓:";
const THOUGHTS = ["Let me solve", " this step by step:", "\n\n1. First break down 27 * 453 — ✓"];
const SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds";
const INPUT = ["", '{"location":', ' "Mün', "chen", ', BY"', ', "unit": "celsius"}'];

type Body = Record<string, unknown>;
type Block = { readonly type: string } & Record<string, unknown>;

/** What the request asks for: text, with thoughts before it, with the use of a tool behind it. */
function blocksOf(body: Body): Block[] {
  const { thinking } = body;
  const blocks: Block[] = [];
  if (thinking !== undefined) blocks.push({ type: "thinking", thinking: THOUGHTS.join(""), signature: SIGNATURE });
  blocks.push({ type: "text", text: TEXT });
  if (usesTools(body)) {
    blocks.push({ type: "tool_use", id: "toolu_1", name: "get_weather", input: JSON.parse(INPUT.join("")) });
  }
  return blocks;
}

function message(content: readonly object[], stop: string | null, usage: object): object {
  return {
    model: "claude-sonnet-5-5-20260901",
    id: "msg_01XFDUDYJgAACzvnptvVoYEL",
    type: "message",
    role: "assistant",
    content,
    stop_reason: stop,
    stop_sequence: null,
    stop_details: null,
    container: null,
    diagnostics: null,
    usage,
  };
}

/** A model that may use tools does, until it has heard from one. */
function usesTools({ tools, messages }: Body): boolean {
  const last = (messages as { content: string | { type: string }[] }[]).at(-1)?.content;
  const hasHeard = Array.isArray(last) && last.some(({ type }) => type === "tool_result");
  return tools !== undefined && !hasHeard;
}

function stopOf(body: Body): string {
  return usesTools(body) ? "tool_use" : "end_turn";
}

interface NamedEvent {
  readonly event: string;
  readonly data: object;
}

const event = (type: string, more: object): NamedEvent => ({ event: type, data: { type, ...more } });

function deltasOf(block: Block): { empty: object; deltas: object[] } {
  if (block.type === "thinking") {
    const deltas = THOUGHTS.map((thinking) => ({ type: "thinking_delta", thinking }));
    const signed = { type: "signature_delta", signature: SIGNATURE };
    return { empty: { type: "thinking", thinking: "", signature: "" }, deltas: [...deltas, signed] };
  }
  if (block.type === "text") {
    const deltas = TEXT.split(/(?= )/).map((text) => ({ type: "text_delta", text }));
    return { empty: { type: "text", text: "" }, deltas };
  }
  const deltas = INPUT.map((partial_json) => ({ type: "input_json_delta", partial_json }));
  return { empty: { ...block, input: {} }, deltas };
}

function blockEvents(block: Block, index: number): NamedEvent[] {
  const { empty, deltas } = deltasOf(block);
  return [
    event("content_block_start", { index, content_block: empty }),
    ...(index === 0 ? [event("ping", {})] : []),
    ...deltas.map((delta) => event("content_block_delta", { index, delta })),
    event("content_block_stop", { index }),
  ];
}

/** All events of a streamed message. */
export function messageEvents(body: Body): NamedEvent[] {
  const { input_tokens, cache_creation_input_tokens, cache_read_input_tokens } = START;
  const usage = { input_tokens, cache_creation_input_tokens, cache_read_input_tokens, ...OUTPUT };
  return [
    event("message_start", { message: message([], null, START) }),
    ...blocksOf(body).flatMap(blockEvents),
    event("message_delta", {
      delta: { stop_reason: stopOf(body), stop_sequence: null, stop_details: null, container: null },
      usage,
    }),
    event("message_stop", {}),
  ];
}

function document(value: unknown, status = 200, fields: Readonly<Record<string, string>> = {}): StandInAnswer {
  return { status, headers: { ...FIELDS, ...fields }, body: Buffer.from(JSON.stringify(value), "utf8") };
}

const ERRORS: Readonly<Record<number, readonly [type: string, message: string]>> = {
  400: ["invalid_request_error", "max_tokens: 300000 > 64000, which is the maximum allowed number of output tokens"],
  401: ["authentication_error", "invalid x-api-key"],
  404: ["not_found_error", "Not found"],
  429: [
    "rate_limit_error",
    "This request would exceed your organization's rate limit of 50,000 input tokens per minute.",
  ],
  500: ["api_error", "Internal server error"],
  529: ["overloaded_error", "Overloaded"],
};

function errorOf(status: number): object {
  const [type, text] = ERRORS[status] ?? ["api_error", "?"];
  return { type: "error", error: { type, message: text }, request_id: FIELDS["request-id"] };
}

function failure(status: number): StandInAnswer {
  const more: Record<string, string> = status >= 500 || status === 429 ? { "x-should-retry": "true" } : {};
  if (status === 429) more["retry-after"] = "1";
  return document(errorOf(status), status, more);
}

export function anthropicAnswer(request: ReceivedRequest): StandInAnswer {
  const [path = "", query = ""] = request.target.split("?");
  if (request.values("anthropic-version").join() !== VERSION) return failure(400);
  if (request.method === "GET" && path === "/v1/messages/batches") return document(batches(new URLSearchParams(query)));
  if (request.method === "GET" && path === "/v1/models") return document({ data: [], has_more: false });
  if (request.method !== "POST") return failure(404);
  if (path === "/v1/messages/count_tokens") return document({ input_tokens: 2095 });
  if (path !== "/v1/messages") return failure(404);
  const body = jsonBody(request);
  const asked = /^fails-(\d{3})$/.exec(String(body.model))?.[1];
  if (asked !== undefined) return failure(Number(asked));
  if (body.stream !== true) {
    return document(message(blocksOf(body), stopOf(body), { ...START, ...OUTPUT }));
  }
  if (body.model !== "fails-later") return eventStream(messageEvents(body));
  return eventStream([...messageEvents(body).slice(0, 6), { event: "error", data: errorOf(529) }]);
}

/** Two pages of two, and a third with one. */
function batches(query: URLSearchParams): object {
  const all = ["msgbatch_1", "msgbatch_2", "msgbatch_3", "msgbatch_4", "msgbatch_5"];
  const from = all.indexOf(query.get("after_id") ?? "") + 1;
  const data = all.slice(from, from + 2).map((id) => ({
    id,
    type: "message_batch",
    processing_status: "ended",
    request_counts: { processing: 0, succeeded: 50, errored: 30, canceled: 10, expired: 10 },
    created_at: "2025-09-24T18:37:24.100435Z",
    expires_at: "2025-09-25T18:37:24.100435Z",
    results_url: `https://api.anthropic.com/v1/messages/batches/${id}/results`,
  }));
  return { data, has_more: from + 2 < all.length, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
}

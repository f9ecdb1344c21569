/** OpenAI's Responses API as its reference shows it: one answer that thinks, calls a function and speaks. */

interface NamedEvent {
  readonly event: string;
  readonly data: object;
}

const WORDS = ["Grüße", " aus", " München", " —", " 日本", " ✓"];
const TEXT = WORDS.join("");
const ARGUMENTS = ['{"', "city", '":"', "Mün", "chen", '"}'];
const REASONING = { id: "rs_1", type: "reasoning", summary: [] };
const CALL = {
  id: "fc_1",
  type: "function_call",
  status: "completed",
  arguments: ARGUMENTS.join(""),
  call_id: "call_1",
  name: "get_weather",
};
const PART = { type: "output_text", annotations: [], logprobs: [], text: TEXT };
const MESSAGE = { id: "msg_1", type: "message", status: "completed", content: [PART], role: "assistant" };

const USAGE = {
  input_tokens: 328,
  input_tokens_details: { cached_tokens: 128 },
  output_tokens: 52,
  output_tokens_details: { reasoning_tokens: 20 },
  total_tokens: 380,
};

export function responseAnswer(status: "in_progress" | "completed"): object {
  const done = status === "completed";
  return {
    id: "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
    object: "response",
    created_at: 1_741_476_777,
    status,
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: null,
    model: "gpt-4o-2024-08-06",
    output: done ? [REASONING, CALL, MESSAGE] : [],
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: done ? "default" : "auto",
    store: true,
    temperature: 1,
    text: { format: { type: "text" } },
    tool_choice: "auto",
    tools: [],
    top_p: 1,
    truncation: "disabled",
    usage: done ? USAGE : null,
    user: null,
    metadata: {},
  };
}

/** All events of the same answer, numbered. */
export function responseEvents(): NamedEvent[] {
  const items: [string, object][] = [
    ["response.created", { response: responseAnswer("in_progress") }],
    ["response.in_progress", { response: responseAnswer("in_progress") }],
    ["response.output_item.added", { output_index: 0, item: REASONING }],
    ["response.output_item.done", { output_index: 0, item: REASONING }],
    ...callEvents(),
    ...messageEvents(),
    ["response.completed", { response: responseAnswer("completed") }],
  ];
  return items.map(([event, more], at) => ({ event, data: { type: event, sequence_number: at, ...more } }));
}

function callEvents(): [string, object][] {
  const place = { item_id: CALL.id, output_index: 1 };
  const begun = { ...CALL, status: "in_progress", arguments: "" };
  return [
    ["response.output_item.added", { output_index: 1, item: begun }],
    ...ARGUMENTS.map((delta): [string, object] => ["response.function_call_arguments.delta", { ...place, delta }]),
    ["response.function_call_arguments.done", { ...place, name: CALL.name, arguments: CALL.arguments }],
    ["response.output_item.done", { output_index: 1, item: CALL }],
  ];
}

function messageEvents(): [string, object][] {
  const place = { item_id: MESSAGE.id, output_index: 2, content_index: 0 };
  const begun = { ...MESSAGE, status: "in_progress", content: [] };
  return [
    ["response.output_item.added", { output_index: 2, item: begun }],
    ["response.content_part.added", { ...place, part: { ...PART, text: "" } }],
    ...WORDS.map((delta): [string, object] => [
      "response.output_text.delta",
      { ...place, delta, logprobs: [], obfuscation: "x9" },
    ]),
    ["response.output_text.done", { ...place, text: TEXT, logprobs: [] }],
    ["response.content_part.done", { ...place, part: PART }],
    ["response.output_item.done", { output_index: 2, item: MESSAGE }],
  ];
}

import { unitsOf } from "./figure.ts";
import {
  anyOf,
  countAt,
  countOf,
  EACH,
  memberSet,
  type NameOf,
  OTHER,
  sizeAt,
  valueAt,
  wordsOf,
} from "./member-set.ts";
import { memberOf, modelName, reportedObject, reportedText, tierName } from "./reported.ts";
import {
  attachmentsIn,
  DEFAULT_OUTPUT_TOKENS,
  expectedInput,
  isTrue,
  type JsonBody,
  jsonBody,
  mostInput,
  plainFacts,
  statedCount,
} from "./request-body.ts";
import type { BodyWindow, RequestFacts, RequestHead, Units } from "./usage.ts";

/**
 * What requests for text say of what they will use. An upper bound is given only when everything in the body is known
 * to leave it one: members, parts and tools that are not listed here may refer to more than the body holds.
 */

/** Members of a request for a completion that add no tokens beyond the body and the output limit. */
const BOUNDED_COMPLETION = wordsOf(`
  temperature top_p top_k min_p stop seed random_seed user logit_bias logprobs top_logprobs frequency_penalty
  presence_penalty repetition_penalty response_format tool_choice parallel_tool_calls functions function_call reasoning
  reasoning_effort reasoning_format include_reasoning thinking verbosity metadata store safety_identifier safe_prompt
  prompt_cache_key prompt_cache_retention echo suffix provider usage`);

const BOUNDED_RESPONSE = wordsOf(`
  instructions temperature top_p text tool_choice parallel_tool_calls reasoning metadata store include truncation user
  safety_identifier prompt_cache_key prompt_cache_retention top_logprobs stream_options`);

const COMPLETION = memberSet(
  {
    model: valueAt("model"),
    stream: valueAt("stream"),
    options: valueAt("stream_options"),
    tier: valueAt("service_tier"),
    limit: valueAt("max_completion_tokens"),
    oldLimit: valueAt("max_tokens"),
    n: valueAt("n"),
    bestOf: valueAt("best_of"),
    search: countAt("web_search_options"),
    parts: countAt("messages", EACH, "content", EACH),
    texts: countOf(["text", "refusal"], "messages", EACH, "content", EACH, "type"),
    audio: countAt("messages", EACH, "audio"),
    inlineBytes: anyOf(
      sizeAt("messages", EACH, "content", EACH, "image_url", "url"),
      sizeAt("messages", EACH, "content", EACH, "input_audio", "data"),
      sizeAt("messages", EACH, "content", EACH, "file", "file_data"),
    ),
    tools: countAt("tools", EACH),
    functions: countOf(["function", "custom"], "tools", EACH, "type"),
    prompts: countAt("prompt", EACH),
    promptTexts: sizeAt("prompt", EACH),
    unknown: countAt(OTHER),
  },
  BOUNDED_COMPLETION,
);

const RESPONSE = memberSet(
  {
    model: valueAt("model"),
    stream: valueAt("stream"),
    tier: valueAt("service_tier"),
    limit: valueAt("max_output_tokens"),
    items: countAt("input", EACH),
    roles: countAt("input", EACH, "role"),
    types: countAt("input", EACH, "type"),
    messages: countOf("message", "input", EACH, "type"),
    calls: countOf(["function_call", "function_call_output"], "input", EACH, "type"),
    resultParts: countAt("input", EACH, "output", EACH),
    parts: countAt("input", EACH, "content", EACH),
    texts: countOf(["input_text", "output_text", "refusal"], "input", EACH, "content", EACH, "type"),
    inlineBytes: anyOf(
      sizeAt("input", EACH, "content", EACH, "image_url"),
      sizeAt("input", EACH, "content", EACH, "file_data"),
    ),
    tools: countAt("tools", EACH),
    functions: countOf(["function", "custom"], "tools", EACH, "type"),
    unknown: countAt(OTHER),
  },
  BOUNDED_RESPONSE,
);

/** Models whose output or input is dearer than text, or that search by themselves. */
const NOT_ONLY_TEXT = /image|audio|tts|search|research|computer|online|sonar|compound/i;

type Reader = (head: RequestHead, body: BodyWindow | null) => RequestFacts;

/** Chat and legacy completions. */
export function readCompletion(operation: "chat" | "completions", asks: boolean): Reader {
  return (head, window) => {
    const body = jsonBody(head, window, COMPLETION);
    if (body === null) return plainFacts(operation, { atMost: null });
    const { members } = body;
    const stream = isTrue(members.value("stream"));
    const options = members.value("options");
    return {
      operation,
      model: modelName(reportedText(members.value("model"))),
      stream,
      canAsk: asks && stream && body.certain && memberOf(reportedObject(options), "include_usage") !== true,
      ...completionUnits(body),
    };
  };
}

function completionUnits(body: JsonBody<NameOf<typeof COMPLETION>>): Pick<RequestFacts, "expected" | "atMost"> {
  const { members, bytes, certain } = body;
  const attachments = attachmentsIn(body, members.count("parts") - members.count("texts"), "inlineBytes");
  const limits = [statedCount(members.value("limit")), statedCount(members.value("oldLimit"))];
  const stated = Math.max(...limits.filter((limit) => limit !== null));
  // Prompts that are strings are completed each; one that is a list of token numbers is not bounded here.
  const prompts = Math.max(1, members.count("promptTexts"));
  const choices = Math.max(statedCount(members.value("n")) ?? 1, statedCount(members.value("bestOf")) ?? 1) * prompts;
  const expectedChoices = Number.isNaN(choices) ? 1 : choices;
  const expectedEach = stated > 0 ? stated : DEFAULT_OUTPUT_TOKENS;
  const expected = unitsOf({
    input: expectedInput(bytes, attachments),
    output: expectedEach * expectedChoices,
    web_search: members.count("search") > 0 ? 1 : 0,
  });
  const isText = attachments.count === 0 && members.count("audio") === 0 && members.count("search") === 0;
  const tools = members.count("tools");
  const isBounded =
    certain &&
    isText &&
    members.count("unknown") === 0 &&
    members.count("prompts") === members.count("promptTexts") &&
    tools === members.count("functions") &&
    isPlainModel(members.value("model"), members.value("tier"));
  return { expected, atMost: isBounded ? bounded(bytes, tools > 0, stated * choices) : null };
}

/** The Responses API. */
export const readResponses: Reader = (head, window) => {
  const body = jsonBody(head, window, RESPONSE);
  if (body === null) return plainFacts("responses", { atMost: null });
  const { members, bytes } = body;
  const attachments = attachmentsIn(body, members.count("parts") - members.count("texts"), "inlineBytes");
  const limit = statedCount(members.value("limit"));
  const tools = members.count("tools");
  return {
    operation: "responses",
    model: modelName(reportedText(members.value("model"))),
    stream: isTrue(members.value("stream")),
    canAsk: false,
    expected: unitsOf({ input: expectedInput(bytes, attachments), output: limit || DEFAULT_OUTPUT_TOKENS }),
    atMost: isBoundedResponse(body, attachments.count) ? bounded(bytes, tools > 0, limit ?? Number.NaN) : null,
  };
};

/** An item without a role that is no call or result may be a reference to one that the provider stores. */
function isBoundedResponse(body: JsonBody<NameOf<typeof RESPONSE>>, attachments: number): boolean {
  const { members, certain } = body;
  const calls = members.count("calls");
  return (
    certain &&
    attachments === 0 &&
    members.count("resultParts") === 0 &&
    members.count("unknown") === 0 &&
    members.count("items") === members.count("roles") + calls &&
    members.count("types") === members.count("messages") + calls &&
    members.count("tools") === members.count("functions") &&
    isPlainModel(members.value("model"), members.value("tier"))
  );
}

function isPlainModel(model: Buffer | null, tier: Buffer | null): boolean {
  const name = modelName(reportedText(model));
  const served = tierName(reportedText(tier));
  return name !== null && !NOT_ONLY_TEXT.test(name) && (served === null || served === "flex");
}

/** All input as if it were written to a cache: that is the dearest, and costs as other input where it is not. */
function bounded(bytes: number, hasTools: boolean, output: number): Units | null {
  if (!(output > 0)) return null;
  return unitsOf({ cache_write: mostInput(bytes, hasTools), output });
}

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
import { modelName, reportedText, tierName } from "./reported.ts";
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
import type { BodyWindow, RequestFacts, RequestHead, Unit } from "./usage.ts";

const CONTENT = ["messages", EACH, "content", EACH] as const;
/** Parts that are text, and calls and results whose text is in the body. */
const TEXT_TYPES = ["text", "thinking", "redacted_thinking", "tool_use", "tool_result"];
/** Everything that can ask for a cache, and for one that is kept for an hour. */
const CACHED = [[], ["system", EACH], ["tools", EACH], CONTENT, [...CONTENT, "content", EACH]].map((path) => [
  ...path,
  "cache_control",
]);

const MESSAGE = memberSet(
  {
    model: valueAt("model"),
    stream: valueAt("stream"),
    limit: valueAt("max_tokens"),
    tier: valueAt("service_tier"),
    parts: countAt(...CONTENT),
    texts: countOf(TEXT_TYPES, ...CONTENT, "type"),
    resultParts: countAt(...CONTENT, "content", EACH),
    resultTexts: countOf("text", ...CONTENT, "content", EACH, "type"),
    inlineBytes: anyOf(sizeAt(...CONTENT, "source", "data"), sizeAt(...CONTENT, "content", EACH, "source", "data")),
    systemParts: countAt("system", EACH),
    systemTexts: countOf("text", "system", EACH, "type"),
    tools: countAt("tools", EACH),
    toolTypes: countAt("tools", EACH, "type"),
    customTools: countOf("custom", "tools", EACH, "type"),
    cached: anyOf(...CACHED.map((path) => countAt(...path))),
    hour: anyOf(...CACHED.map((path) => countOf("1h", ...path, "ttl"))),
    unknown: countAt(OTHER),
  },
  wordsOf("temperature top_p top_k stop_sequences metadata tool_choice thinking output_config output_format"),
);
type Name = NameOf<typeof MESSAGE>;

/** The Messages API; `max_tokens` bounds visible text and thinking together. */
export function readMessage(head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, MESSAGE);
  if (body === null) return plainFacts("messages", { atMost: null });
  const { members, bytes } = body;
  const limit = statedCount(members.value("limit"));
  const attachments = attachmentsIn(body, attachmentsOf(body), "inlineBytes");
  const input = { [inputUnit(body)]: mostInput(bytes, members.count("tools") > 0) };
  return {
    operation: "messages",
    model: modelName(reportedText(members.value("model"))),
    stream: isTrue(members.value("stream")),
    canAsk: false,
    expected: unitsOf({ input: expectedInput(bytes, attachments), output: limit || DEFAULT_OUTPUT_TOKENS }),
    atMost: limit && isBounded(body) ? unitsOf({ ...input, output: limit }) : null,
  };
}

/** Pictures, documents, and whatever is not known to be text. */
function attachmentsOf({ members }: JsonBody<Name>): number {
  const parts = members.count("parts") - members.count("texts");
  return Math.max(0, parts) + Math.max(0, members.count("resultParts") - members.count("resultTexts"));
}

/** Tools with a type of their own are the provider's: they bring prompts, searches and files that the body does not show. */
function isBounded(body: JsonBody<Name>): boolean {
  const { members, certain } = body;
  return (
    certain &&
    attachmentsOf(body) === 0 &&
    members.count("unknown") === 0 &&
    members.count("systemParts") === members.count("systemTexts") &&
    members.count("toolTypes") === members.count("customTools") &&
    modelName(reportedText(members.value("model"))) !== null &&
    tierName(reportedText(members.value("tier"))) === null
  );
}

/** Writing to a cache costs more than reading, so a bound has to count all input as written. */
function inputUnit({ members }: JsonBody<Name>): Unit {
  if (members.count("hour") > 0) return "cache_write_1h";
  return members.count("cached") > 0 ? "cache_write" : "input";
}

import { unitsOf } from "./figure.ts";
import { countAt, countOf, EACH, memberSet, OTHER, sizeAt, valueAt, wordsOf } from "./member-set.ts";
import { modelName, reportedText, tierName } from "./reported.ts";
import {
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

const MESSAGE = memberSet(
  {
    model: valueAt("model"),
    stream: valueAt("stream"),
    limit: valueAt("max_tokens"),
    tier: valueAt("service_tier"),
    parts: countAt(...CONTENT),
    texts: countOf("text", ...CONTENT, "type"),
    thoughts: countOf("thinking", ...CONTENT, "type"),
    hiddenThoughts: countOf("redacted_thinking", ...CONTENT, "type"),
    calls: countOf("tool_use", ...CONTENT, "type"),
    results: countOf("tool_result", ...CONTENT, "type"),
    resultParts: countAt(...CONTENT, "content", EACH),
    resultTexts: countOf("text", ...CONTENT, "content", EACH, "type"),
    sourceBytes: sizeAt(...CONTENT, "source", "data"),
    resultBytes: sizeAt(...CONTENT, "content", EACH, "source", "data"),
    systemParts: countAt("system", EACH),
    systemTexts: countOf("text", "system", EACH, "type"),
    tools: countAt("tools", EACH),
    toolTypes: countAt("tools", EACH, "type"),
    customTools: countOf("custom", "tools", EACH, "type"),
    // Everything that can ask for a cache, and for the one that is kept for an hour.
    cached: countAt("cache_control"),
    cachedSystem: countAt("system", EACH, "cache_control"),
    cachedTools: countAt("tools", EACH, "cache_control"),
    cachedParts: countAt(...CONTENT, "cache_control"),
    cachedResults: countAt(...CONTENT, "content", EACH, "cache_control"),
    hour: countOf("1h", "cache_control", "ttl"),
    hourSystem: countOf("1h", "system", EACH, "cache_control", "ttl"),
    hourTools: countOf("1h", "tools", EACH, "cache_control", "ttl"),
    hourParts: countOf("1h", ...CONTENT, "cache_control", "ttl"),
    hourResults: countOf("1h", ...CONTENT, "content", EACH, "cache_control", "ttl"),
    unknown: countAt(OTHER),
  },
  wordsOf("temperature top_p top_k stop_sequences metadata tool_choice thinking output_config output_format"),
);
type Name = typeof MESSAGE extends { readonly index: ReadonlyMap<infer K extends string, number> } ? K : never;

/** The Messages API; `max_tokens` bounds visible text and thinking together. */
export function readMessage(head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, MESSAGE);
  if (body === null) return plainFacts("messages", { atMost: null });
  const { members, bytes } = body;
  const limit = statedCount(members.value("limit"));
  const attachments = { count: attachmentsOf(body), bytes: members.size("sourceBytes") + members.size("resultBytes") };
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
  const texts = (["texts", "thoughts", "hiddenThoughts", "calls", "results"] as const).map((name) =>
    members.count(name),
  );
  const known = texts.reduce((sum, count) => sum + count, 0);
  return (
    Math.max(0, members.count("parts") - known) +
    Math.max(0, members.count("resultParts") - members.count("resultTexts"))
  );
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
  const sum = (...names: readonly Name[]) => names.reduce((total, name) => total + members.count(name), 0);
  if (sum("hour", "hourSystem", "hourTools", "hourParts", "hourResults") > 0) return "cache_write_1h";
  const asked = sum("cached", "cachedSystem", "cachedTools", "cachedParts", "cachedResults");
  return asked > 0 ? "cache_write" : "input";
}

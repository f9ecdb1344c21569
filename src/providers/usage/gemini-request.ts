import { unitsOf } from "./figure.ts";
import {
  anyOf,
  countAt,
  EACH,
  type Member,
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
  type JsonBody,
  jsonBody,
  mostInput,
  plainFacts,
  statedCount,
} from "./request-body.ts";
import type { BodyWindow, RequestFacts, RequestHead } from "./usage.ts";

/** Every place of a part. Google's parser takes a single object where a list belongs. */
const PARTS = [["contents", EACH], ["contents"], ["systemInstruction"], ["system_instruction"]].flatMap((content) => [
  [...content, "parts", EACH],
  [...content, "parts"],
]);
const TOOLS = [["tools", EACH], ["tools"]];
const inParts = (place: (...path: readonly string[]) => Member, ...path: readonly string[]): Member =>
  anyOf(...PARTS.map((part) => place(...part, ...path)));
/** Members of a part that are text: what they cost is at most their length. */
const TEXT_PARTS = wordsOf(
  "text thought thoughtSignature thought_signature functionCall function_call functionResponse function_response",
);
const FUNCTIONS = ["functionDeclarations", "function_declarations"];

const GENERATE = memberSet(
  {
    // Google's JSON takes every name in two spellings, and each of them is looked at.
    limit: valueAt("generationConfig", "maxOutputTokens"),
    limitSnake: valueAt("generationConfig", "max_output_tokens"),
    snakeLimit: valueAt("generation_config", "maxOutputTokens"),
    snakeLimitSnake: valueAt("generation_config", "max_output_tokens"),
    candidates: valueAt("generationConfig", "candidateCount"),
    candidatesSnake: valueAt("generationConfig", "candidate_count"),
    snakeCandidates: valueAt("generation_config", "candidateCount"),
    snakeCandidatesSnake: valueAt("generation_config", "candidate_count"),
    modalities: anyOf(
      countAt("generationConfig", "responseModalities"),
      countAt("generationConfig", "response_modalities"),
      countAt("generation_config", "responseModalities"),
      countAt("generation_config", "response_modalities"),
    ),
    tier: anyOf(valueAt("serviceTier"), valueAt("service_tier")),
    foreign: inParts(countAt, OTHER),
    inline: anyOf(inParts(countAt, "inlineData"), inParts(countAt, "inline_data")),
    inlineBytes: anyOf(inParts(sizeAt, "inlineData", "data"), inParts(sizeAt, "inline_data", "data")),
    foreignTools: anyOf(...TOOLS.map((tool) => countAt(...tool, OTHER))),
    tools: countAt("tools"),
    unknown: countAt(OTHER),
  },
  [
    ...wordsOf("safetySettings safety_settings toolConfig tool_config labels"),
    ...TEXT_PARTS.flatMap((name) => PARTS.map((part) => [...part, name])),
    ...FUNCTIONS.flatMap((name) => TOOLS.map((tool) => [...tool, name])),
  ],
);
type Name = NameOf<typeof GENERATE>;

const NOT_ONLY_TEXT = /image|audio|tts|live|computer|research|veo|lyria/i;

export function readGenerate(
  head: RequestHead,
  window: BodyWindow | null,
  model: string | null,
  stream: boolean,
): RequestFacts {
  const body = jsonBody(head, window, GENERATE);
  if (body === null) return plainFacts("generate", { model, stream, atMost: null });
  const { members, bytes } = body;
  const limit = statedOf(body, "limit", "limitSnake", "snakeLimit", "snakeLimitSnake");
  const candidates = statedOf(body, "candidates", "candidatesSnake", "snakeCandidates", "snakeCandidatesSnake") ?? 1;
  const attachments = attachmentsIn(body, members.count("foreign") + members.count("inline"), "inlineBytes");
  const output = (limit || DEFAULT_OUTPUT_TOKENS) * (candidates || 1);
  const most = (limit ?? Number.NaN) * candidates;
  const bounded = attachments.count === 0 && most > 0 && isBounded(body, model);
  return plainFacts("generate", {
    model,
    stream,
    expected: unitsOf({ input: expectedInput(bytes, attachments), output }),
    atMost: bounded ? unitsOf({ input: mostInput(bytes, members.count("tools") > 0), output: most }) : null,
  });
}

/** Content that is stored, searches, code that runs there, and pictures or speech as the answer are bounded by nothing here. */
function isBounded({ members, certain }: JsonBody<Name>, model: string | null): boolean {
  const others = members.count("unknown") + members.count("foreignTools") + members.count("modalities");
  const tier = tierName(reportedText(members.value("tier")));
  return certain && others === 0 && model !== null && !NOT_ONLY_TEXT.test(model) && (tier === null || tier === "flex");
}

/** The larger one, when a request states it in more than one spelling. */
function statedOf({ members }: JsonBody<Name>, ...names: readonly Name[]): number | null {
  const stated = names.map((name) => statedCount(members.value(name))).filter((value) => value !== null);
  return stated.length === 0 ? null : Math.max(...stated);
}

const EMBED = memberSet({
  text: sizeAt("content", "parts", EACH, "text"),
  texts: sizeAt("requests", EACH, "content", "parts", EACH, "text"),
});

export function readEmbed(head: RequestHead, window: BodyWindow | null, model: string | null): RequestFacts {
  const body = jsonBody(head, window, EMBED);
  if (body === null) return plainFacts("embed", { model, atMost: null });
  const text = body.members.size("text") + body.members.size("texts");
  return plainFacts("embed", {
    model,
    expected: unitsOf({ input: expectedInput(text, { count: 0, bytes: 0 }) }),
    atMost: null,
  });
}

const PREDICT = memberSet({ count: valueAt("parameters", "sampleCount") });

/** Imagen: pictures are billed each. */
export function readPredict(head: RequestHead, window: BodyWindow | null, model: string | null): RequestFacts {
  const body = jsonBody(head, window, PREDICT);
  const count = statedCount(body?.members.value("count") ?? null) || 1;
  return plainFacts("predict", { model: modelName(model), expected: unitsOf({ image: count }), atMost: null });
}

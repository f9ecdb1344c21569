import { type AnswerEnd, answerReader, type Tally } from "./answer-reader.ts";
import { failureText } from "./failure-text.ts";
import { figureOf, tokensInBytes, unbilledReader, unitsOf } from "./figure.ts";
import type { JsonMembers } from "./json-members.ts";
import { countAt, countOf, EACH, memberSet, sizeAt, valueAt } from "./member-set.ts";
import { isByCharacter } from "./openai-media-request.ts";
import type { OpenAiOperation } from "./openai-operation.ts";
import { openAiCounts, type UsageHabits } from "./openai-usage.ts";
import { modelName, parsed, type Reported, reportedObject, reportedText, secondsIn, tierName } from "./reported.ts";
import type { AnswerHead, RequestFacts, Unit, Units, UsageFigure, UsageReader } from "./usage.ts";

/** The same members in an answer, in the chunks of a chat and in the events of a response. */
const ANSWER = memberSet({
  usage: valueAt("usage"),
  responseUsage: valueAt("response", "usage"),
  groqUsage: valueAt("x_groq", "usage"),
  svgUsage: valueAt("svg_usage"),
  duration: valueAt("duration"),
  model: valueAt("model"),
  responseModel: valueAt("response", "model"),
  tier: valueAt("service_tier"),
  responseTier: valueAt("response", "service_tier"),
  type: valueAt("type"),
  status: valueAt("status"),
  error: valueAt("error"),
  responseError: valueAt("response", "error"),
  choices: countAt("choices", EACH),
  pictures: countAt("data", EACH),
  // What was delivered, for answers without usage.
  text: sizeAt("choices", EACH, "text"),
  content: sizeAt("choices", EACH, "message", "content"),
  thought: sizeAt("choices", EACH, "message", "reasoning_content"),
  call: sizeAt("choices", EACH, "message", "tool_calls", EACH, "function", "arguments"),
  deltaContent: sizeAt("choices", EACH, "delta", "content"),
  deltaThought: sizeAt("choices", EACH, "delta", "reasoning_content"),
  deltaReasoning: sizeAt("choices", EACH, "delta", "reasoning"),
  deltaCall: sizeAt("choices", EACH, "delta", "tool_calls", EACH, "function", "arguments"),
  outputText: sizeAt("output", EACH, "content", EACH, "text"),
  outputCall: sizeAt("output", EACH, "arguments"),
  delta: sizeAt("delta"),
  // The provider's own tools, in an answer and in the last event of a response.
  searches: countOf("web_search_call", "output", EACH, "type"),
  opened: countOf("open_page", "output", EACH, "action", "type"),
  found: countOf("find_in_page", "output", EACH, "action", "type"),
  files: countOf("file_search_call", "output", EACH, "type"),
  code: countOf("code_interpreter_call", "output", EACH, "type"),
  drawn: countOf("image_generation_call", "output", EACH, "type"),
  responseSearches: countOf("web_search_call", "response", "output", EACH, "type"),
  responseOpened: countOf("open_page", "response", "output", EACH, "action", "type"),
  responseFound: countOf("find_in_page", "response", "output", EACH, "action", "type"),
  responseFiles: countOf("file_search_call", "response", "output", EACH, "type"),
  responseCode: countOf("code_interpreter_call", "response", "output", EACH, "type"),
  responseDrawn: countOf("image_generation_call", "response", "output", EACH, "type"),
});
type Name = typeof ANSWER extends { readonly index: ReadonlyMap<infer K extends string, number> } ? K : never;

const TEXTS = [
  "text",
  "content",
  "thought",
  "call",
  "deltaContent",
  "deltaThought",
  "deltaReasoning",
  "deltaCall",
  "outputText",
  "outputCall",
  "delta",
] as const satisfies readonly Name[];
/** Events behind which nothing more is used. */
const LAST_EVENTS = new Set(["response.completed", "response.incomplete", "response.failed"]);
const NOT_BEGUN = new Set(["queued", "in_progress"]);

/** Reads an answer in OpenAI's shape. */
export function openAiReader(
  facts: RequestFacts,
  answer: AnswerHead,
  operation: OpenAiOperation,
  habits: UsageHabits,
): UsageReader {
  const isBilled = operation !== "free" && operation !== "other";
  if (answer.status < 200 || answer.status > 299 || !isBilled) return unbilledReader(facts);
  return answerReader(answer, ANSWER, new OpenAiTally(facts, operation, habits));
}

class OpenAiTally implements Tally<Name> {
  readonly #facts: RequestFacts;
  readonly #operation: OpenAiOperation;
  readonly #habits: UsageHabits;
  #usage: Reported | null = null;
  #svgUsage: Reported | null = null;
  /** Nothing more is used: the last usage was told. */
  #final = false;
  #waiting = false;
  #model: string | null = null;
  #tier: string | null = null;
  #failure: string | null = null;
  #textBytes = 0;
  #pictures = 0;
  #seconds: number | null = null;
  #tools: Partial<Record<Unit, number>> = {};

  constructor(facts: RequestFacts, operation: OpenAiOperation, habits: UsageHabits) {
    this.#facts = facts;
    this.#operation = operation;
    this.#habits = habits;
  }

  document(members: JsonMembers<Name>): void {
    const type = reportedText(members.value("type"));
    const first = (...names: readonly Name[]) => names.map((name) => members.value(name)).find((raw) => raw !== null);
    this.#model = modelName(reportedText(first("model", "responseModel") ?? null)) ?? this.#model;
    this.#tier = tierName(reportedText(first("tier", "responseTier") ?? null)) ?? this.#tier;
    this.#failure ??= failureText(first("error", "responseError") ?? null);
    const usage = (["usage", "responseUsage", "groqUsage"] as const).map((name) => reportedObject(members.value(name)));
    const told = usage.find((each) => each !== null);
    if (told) this.#usage = told;
    if (told && members.count("choices") === 0) this.#final = true;
    if (type !== null && LAST_EVENTS.has(type)) this.#final = true;
    this.#waiting = !this.#final && NOT_BEGUN.has(reportedText(members.value("status")) ?? "");
    this.#svgUsage = reportedObject(members.value("svgUsage")) ?? this.#svgUsage;
    for (const name of TEXTS) this.#textBytes += members.size(name);
    this.#pictures += members.count("pictures");
    this.#seconds = secondsIn({ duration: parsed(members.value("duration")) }, "duration") ?? this.#seconds;
    this.#countTools(members);
  }

  /** Only searches cost something: opening a page that was found does not. */
  #countTools(members: JsonMembers<Name>): void {
    const both = (plain: Name, nested: Name) => members.count(plain) + members.count(nested);
    const pages = both("opened", "responseOpened") + both("found", "responseFound");
    const used = {
      web_search: Math.max(0, both("searches", "responseSearches") - pages),
      tool_call: both("files", "responseFiles") + both("code", "responseCode"),
      image: both("drawn", "responseDrawn"),
    };
    if (used.web_search + used.tool_call + used.image > 0) this.#tools = used;
  }

  figure(end: AnswerEnd): UsageFigure {
    const isOver = end.complete || end.done || this.#final;
    const told = {
      model: this.#model ?? this.#facts.model,
      tier: this.#tier,
      partial: !isOver || this.#waiting,
      failure: this.#failure,
    };
    const exact = this.#told(end);
    if (exact !== null) {
      const charged = this.#usage === null ? null : (this.#habits.charge?.(this.#usage) ?? null);
      return figureOf(this.#facts, { ...told, units: exact, quality: "exact", charged });
    }
    const units = this.#estimate(end);
    return figureOf(this.#facts, { ...told, units: units ?? { request: 1 }, quality: units ? "estimated" : "none" });
  }

  /** What the provider said, or what can be counted without a doubt; null when that is nothing. */
  #told(end: AnswerEnd): Units | null {
    const counts = this.#usage && openAiCounts(this.#usage, this.#operation, this.#habits);
    if (counts) {
      const drawing = this.#svgUsage && openAiCounts(this.#svgUsage, "chat", this.#habits);
      const search = { web_search: this.#facts.expected.web_search ?? 0 };
      return unitsOf(sumOf([counts, this.#tools, drawing ?? {}, search]));
    }
    if (this.#operation === "images" && this.#pictures > 0) return unitsOf({ image: this.#pictures });
    if (this.#operation === "transcription" && this.#seconds !== null) return unitsOf({ second: this.#seconds });
    const isSpoken = this.#operation === "speech" && end.bytes > 0 && this.#failure === null;
    return isSpoken && isByCharacter(this.#facts.model) ? this.#facts.expected : null;
  }

  /** From sizes; null when nothing was used, as far as anybody can know. */
  #estimate(end: AnswerEnd): Units | null {
    if (this.#operation === "moderation" || this.#operation === "images") return null;
    if (this.#failure !== null && this.#textBytes === 0) return null;
    const isTold =
      this.#operation === "speech" || this.#operation === "transcription" || this.#operation === "embeddings";
    if (isTold || this.#waiting) return this.#facts.expected;
    const cut = end.whole || end.bytes === 0 ? 0 : end.bytes;
    const { output: _, ...input } = this.#facts.expected;
    return unitsOf(sumOf([input, this.#tools, { output: tokensInBytes(this.#textBytes || cut) }]));
  }
}

function sumOf(parts: readonly Partial<Record<Unit, number>>[]): Partial<Record<Unit, number>> {
  const sum: Partial<Record<Unit, number>> = {};
  for (const part of parts) {
    for (const [unit, count] of Object.entries(part) as [Unit, number][]) sum[unit] = (sum[unit] ?? 0) + count;
  }
  return sum;
}

import { type AnswerEnd, answerReader, type Tally } from "./answer-reader.ts";
import { failureText, MAX_FAILURE_CHARACTERS } from "./failure-text.ts";
import { figureOf, tokensInBytes, unbilledReader, unitsOf } from "./figure.ts";
import type { JsonMembers } from "./json-members.ts";
import { anyOf, countAt, countOf, EACH, type Member, memberSet, type NameOf, sizeAt, valueAt } from "./member-set.ts";
import { isByCharacter } from "./openai-media-request.ts";
import type { OpenAiOperation } from "./openai-operation.ts";
import { openAiCounts, type UsageHabits } from "./openai-usage.ts";
import { modelName, parsed, type Reported, reportedObject, reportedText, secondsIn, tierName } from "./reported.ts";
import type { AnswerHead, RequestFacts, Unit, Units, UsageFigure, UsageReader } from "./usage.ts";

const inResponse = (...path: readonly string[]): Member => anyOf(valueAt(...path), valueAt("response", ...path));
const OUTPUT = ["output", EACH] as const;
const countTool = (type: string, ...path: readonly string[]): Member =>
  anyOf(countOf(type, ...OUTPUT, ...path, "type"), countOf(type, "response", ...OUTPUT, ...path, "type"));

/** The same in an answer, in the chunks of a chat, and in the events of a response, of which the last holds the answer. */
const ANSWER = memberSet({
  usage: anyOf(inResponse("usage"), valueAt("x_groq", "usage")),
  svgUsage: valueAt("svg_usage"),
  duration: valueAt("duration"),
  model: inResponse("model"),
  tier: inResponse("service_tier"),
  type: valueAt("type"),
  status: valueAt("status"),
  error: inResponse("error"),
  // Of the event with which the stream of a response fails.
  errorCode: valueAt("code"),
  errorMessage: valueAt("message"),
  choices: countAt("choices", EACH),
  pictures: countAt("data", EACH),
  // What was delivered, for answers without usage.
  text: anyOf(
    sizeAt("choices", EACH, "text"),
    sizeAt("choices", EACH, "message", "content"),
    sizeAt("choices", EACH, "message", "reasoning_content"),
    sizeAt("choices", EACH, "message", "tool_calls", EACH, "function", "arguments"),
    sizeAt("choices", EACH, "delta", "content"),
    sizeAt("choices", EACH, "delta", "reasoning_content"),
    sizeAt("choices", EACH, "delta", "reasoning"),
    sizeAt("choices", EACH, "delta", "tool_calls", EACH, "function", "arguments"),
    sizeAt(...OUTPUT, "content", EACH, "text"),
    sizeAt(...OUTPUT, "arguments"),
    sizeAt("delta"),
  ),
  searches: countTool("web_search_call"),
  opened: countTool("open_page", "action"),
  found: countTool("find_in_page", "action"),
  files: countTool("file_search_call"),
  code: countTool("code_interpreter_call"),
  drawn: countTool("image_generation_call"),
});
type Name = NameOf<typeof ANSWER>;

const OPEN_OBJECT = 0x7b;
const SMALL_N = 0x6e;
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
    this.#model ??= modelName(reportedText(members.value("model")));
    this.#tier = members.firstByte("tier") > 0 ? tierName(reportedText(members.value("tier"))) : this.#tier;
    if (isThere(members, "error")) this.#failure ??= failureText(members.value("error"));
    if (members.firstByte("usage") === OPEN_OBJECT) {
      this.#usage = reportedObject(members.value("usage")) ?? this.#usage;
      this.#final ||= members.count("choices") === 0;
    }
    this.#textBytes += members.size("text");
    this.#pictures += members.count("pictures");
    if (isThere(members, "type")) this.#event(reportedText(members.value("type")) ?? "", members);
    if (isThere(members, "status")) {
      this.#waiting = !this.#final && NOT_BEGUN.has(reportedText(members.value("status")) ?? "");
    }
    if (isThere(members, "svgUsage")) this.#svgUsage = reportedObject(members.value("svgUsage"));
    if (isThere(members, "duration")) this.#seconds = secondsIn({ s: parsed(members.value("duration")) }, "s");
    this.#countTools(members);
  }

  #event(type: string, members: JsonMembers<Name>): void {
    this.#final ||= LAST_EVENTS.has(type);
    if (type === "error") this.#failure ??= failureOfEvent(members);
  }

  /** Only searches cost something: opening a page that was found does not. */
  #countTools(members: JsonMembers<Name>): void {
    const searches = members.count("searches") - members.count("opened") - members.count("found");
    const calls = members.count("files") + members.count("code");
    const drawn = members.count("drawn");
    if (searches + calls + drawn > 0)
      this.#tools = { web_search: Math.max(0, searches), tool_call: calls, image: drawn };
  }

  figure(end: AnswerEnd): UsageFigure {
    const isOver = end.complete || end.done || this.#final || this.#failure !== null;
    const told = {
      model: this.#model ?? this.#facts.model,
      tier: this.#tier,
      partial: !isOver || this.#waiting,
      charged: this.#usage === null ? null : (this.#habits.charge?.(this.#usage) ?? null),
      failure: this.#failure,
    };
    const exact = this.#told(end);
    if (exact !== null) return figureOf(this.#facts, { ...told, units: exact, quality: "exact" });
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

function isThere(members: JsonMembers<Name>, name: Name): boolean {
  const byte = members.firstByte(name);
  return byte !== 0 && byte !== SMALL_N;
}

/** `error` events of responses have code and message beside their type. */
function failureOfEvent(members: JsonMembers<Name>): string {
  const told = [failureText(members.value("errorCode")), failureText(members.value("errorMessage"))];
  return (
    told
      .filter((part) => part !== null)
      .join(": ")
      .slice(0, MAX_FAILURE_CHARACTERS) || "error"
  );
}

function sumOf(parts: readonly Partial<Record<Unit, number>>[]): Partial<Record<Unit, number>> {
  const sum: Partial<Record<Unit, number>> = {};
  for (const part of parts) {
    for (const [unit, count] of Object.entries(part) as [Unit, number][]) sum[unit] = (sum[unit] ?? 0) + count;
  }
  return sum;
}

import { type AnswerEnd, answerReader, type Tally } from "./answer-reader.ts";
import { failureText } from "./failure-text.ts";
import { figureOf, tokensInBytes, unbilledReader, unitsOf } from "./figure.ts";
import { readEmbed, readGenerate, readPredict } from "./gemini-request.ts";
import type { JsonMembers } from "./json-members.ts";
import { anyOf, countAt, countOf, EACH, memberSet, type NameOf, sizeAt, valueAt } from "./member-set.ts";
import {
  asObject,
  countIn,
  memberOf,
  modelName,
  partIn,
  type Reported,
  reportedObject,
  reportedText,
  tierName,
} from "./reported.ts";
import { isJson, plainFacts } from "./request-body.ts";
import type { AnswerHead, RequestFacts, RequestHead, Unit, UsageDialect, UsageFigure, UsageReader } from "./usage.ts";

const CANDIDATES = ["candidates", EACH] as const;

const QUERIES = [...CANDIDATES, "groundingMetadata", "webSearchQueries", EACH] as const;

/** The same in one answer, in the events of `alt=sse`, and in the elements of the array that a stream is without it. */
const ANSWER = memberSet({
  usage: anyOf(valueAt("usageMetadata"), valueAt(EACH, "usageMetadata")),
  model: anyOf(valueAt("modelVersion"), valueAt(EACH, "modelVersion")),
  error: anyOf(valueAt("error"), valueAt(EACH, "error")),
  finish: anyOf(valueAt(...CANDIDATES, "finishReason"), valueAt(EACH, ...CANDIDATES, "finishReason")),
  text: anyOf(
    sizeAt(...CANDIDATES, "content", "parts", EACH, "text"),
    sizeAt(EACH, ...CANDIDATES, "content", "parts", EACH, "text"),
  ),
  searches: anyOf(countAt(...QUERIES), countAt(EACH, ...QUERIES)),
  // Empty queries are not billed.
  noSearches: anyOf(countOf("", ...QUERIES), countOf("", EACH, ...QUERIES)),
  pictures: countAt("predictions", EACH),
});
type Name = NameOf<typeof ANSWER>;

const MODEL_CALL = /\/(?:models|tunedModels)\/([^/:]{1,128}):(\w+)$/;
/** Models before the third generation are billed once for a prompt that was grounded, later ones for each search. */
const ONE_FEE_FOR_ALL_SEARCHES = /^gemini-[12]\b/;

/**
 * Google's Gemini API. `promptTokenCount` includes what was cached, `candidatesTokenCount` leaves out the thoughts, and
 * what its own tools read comes on top. Every chunk of a stream tells the sums so far; the last one counts.
 */
export const gemini: UsageDialect = {
  needsBody: (head) => isJson(head) && operationOf(head) !== null,
  readRequest: (head, body) => {
    const operation = operationOf(head);
    const model = modelName(MODEL_CALL.exec(head.path)?.[1]);
    if (operation === "generate") return readGenerate(head, body, model, head.path.endsWith(":streamGenerateContent"));
    if (operation === "embed") return readEmbed(head, body, model);
    if (operation === "predict") return readPredict(head, body, model);
    if (head.path.endsWith(":countTokens")) return plainFacts("count_tokens", { model });
    return plainFacts("other", head.method === "POST" ? { atMost: null } : {});
  },
  reader: geminiReader,
  askForUsage: null,
  hideAsked: null,
};

function geminiReader(facts: RequestFacts, answer: AnswerHead): UsageReader {
  const isBilled = ["generate", "embed", "predict"].includes(facts.operation);
  if (!isBilled || answer.status < 200 || answer.status > 299) return unbilledReader(facts);
  return answerReader(answer, ANSWER, new GeminiTally(facts));
}

function operationOf({ method, path }: RequestHead): "generate" | "embed" | "predict" | null {
  const call = method === "POST" ? MODEL_CALL.exec(path)?.[2] : undefined;
  if (call === "generateContent" || call === "streamGenerateContent") return "generate";
  if (call === "embedContent" || call === "batchEmbedContents") return "embed";
  return call === "predict" ? "predict" : null;
}

class GeminiTally implements Tally<Name> {
  readonly #facts: RequestFacts;
  #usage: Reported | null = null;
  #model: string | null = null;
  #failure: string | null = null;
  #isFinished = false;
  #textBytes = 0;
  #searches = 0;
  #pictures = 0;

  constructor(facts: RequestFacts) {
    this.#facts = facts;
  }

  document(members: JsonMembers<Name>): void {
    this.#usage = reportedObject(members.value("usage")) ?? this.#usage;
    this.#model ??= modelName(reportedText(members.value("model")));
    this.#failure ??= failureText(members.value("error"));
    this.#isFinished ||= members.firstByte("finish") !== 0;
    this.#textBytes += members.size("text");
    // Told again with every chunk that is grounded.
    this.#searches = Math.max(this.#searches, members.count("searches") - members.count("noSearches"));
    this.#pictures += members.count("pictures");
  }

  figure(end: AnswerEnd): UsageFigure {
    const told = {
      model: this.#model ?? this.#facts.model,
      tier: tierName(memberOf(this.#usage, "serviceTier")),
      partial: !end.complete && !this.#isFinished && this.#failure === null,
      failure: this.#failure,
    };
    const counts = this.#usage && geminiCounts(this.#usage);
    const fee = ONE_FEE_FOR_ALL_SEARCHES.test(told.model ?? "") ? Math.min(1, this.#searches) : this.#searches;
    if (counts)
      return figureOf(this.#facts, { ...told, units: unitsOf({ ...counts, web_search: fee }), quality: "exact" });
    if (this.#facts.operation === "predict") {
      const units = unitsOf({ image: this.#pictures });
      return figureOf(this.#facts, { ...told, units, quality: this.#pictures > 0 ? "exact" : "none" });
    }
    if (this.#failure !== null && this.#textBytes === 0) return figureOf(this.#facts, told);
    const cut = end.whole || end.bytes === 0 ? 0 : end.bytes;
    const output = this.#facts.operation === "embed" ? 0 : tokensInBytes(this.#textBytes || cut);
    const units = unitsOf({ input: this.#facts.expected.input ?? 0, output, web_search: fee });
    return figureOf(this.#facts, { ...told, units, quality: "estimated" });
  }
}

/** Null when the numbers are no counts. */
function geminiCounts(usage: Reported): Partial<Record<Unit, number>> | null {
  const prompt = countIn(usage, "promptTokenCount");
  const total = countIn(usage, "totalTokenCount");
  if ((prompt ?? total) === null) return null;
  const tools = partIn(usage, "toolUsePromptTokenCount");
  const thoughts = partIn(usage, "thoughtsTokenCount");
  const given = prompt ?? 0;
  const candidates = countIn(usage, "candidatesTokenCount", "responseTokenCount");
  // Older models leave it out; the total includes it.
  const output = candidates ?? Math.max(0, (total || 0) - given - tools - thoughts);
  if (Number.isNaN(given) || Number.isNaN(output)) return null;
  const cached = Math.min(partIn(usage, "cachedContentTokenCount"), given);
  const spoken = modality(usage, "promptTokensDetails", "AUDIO") - modality(usage, "cacheTokensDetails", "AUDIO");
  const audio = Math.min(Math.max(0, spoken), given - cached);
  const drawn = Math.min(modality(usage, "candidatesTokensDetails", "IMAGE"), output);
  const said = Math.min(modality(usage, "candidatesTokensDetails", "AUDIO"), output - drawn);
  return {
    input: given - cached - audio + tools,
    cached_input: cached,
    input_audio: audio,
    output: output - drawn - said,
    output_image: drawn,
    output_audio: said,
    reasoning: thoughts,
  };
}

const MAX_MODALITIES = 20;

function modality(usage: Reported, list: string, name: string): number {
  const details = memberOf(usage, list);
  if (!Array.isArray(details)) return 0;
  return details
    .slice(0, MAX_MODALITIES)
    .map(asObject)
    .filter((detail) => memberOf(detail, "modality") === name)
    .reduce((sum, detail) => sum + partIn(detail, "tokenCount"), 0);
}

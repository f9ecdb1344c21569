import { type AnswerEnd, answerReader, type Tally } from "./answer-reader.ts";
import { failureText } from "./failure-text.ts";
import { figureOf, tokensInBytes, unbilledReader, unitsOf } from "./figure.ts";
import type { JsonMembers } from "./json-members.ts";
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
import { countIn, modelName, objectIn, partIn, type Reported, reportedObject, reportedText } from "./reported.ts";
import {
  attachmentsIn,
  DEFAULT_OUTPUT_TOKENS,
  expectedInput,
  isJson,
  isTrue,
  jsonBody,
  mostInput,
  plainFacts,
  statedCount,
} from "./request-body.ts";
import type {
  AnswerHead,
  BodyWindow,
  RequestFacts,
  RequestHead,
  Unit,
  UsageDialect,
  UsageFigure,
  UsageReader,
} from "./usage.ts";

const ANSWER = memberSet({
  // Version 2 and version 1, each in an answer and in the last event of a stream.
  usage: anyOf(valueAt("usage"), valueAt("delta", "usage"), valueAt("meta"), valueAt("response", "meta")),
  type: anyOf(valueAt("type"), valueAt("event_type")),
  error: anyOf(valueAt("error"), valueAt("delta", "error")),
  text: anyOf(
    sizeAt("text"),
    sizeAt("message", "content", EACH, "text"),
    sizeAt("delta", "message", "content", "text"),
    sizeAt("delta", "message", "tool_calls", "function", "arguments"),
  ),
});
type Name = NameOf<typeof ANSWER>;

const OPERATIONS = ["chat", "generate", "summarize", "embed", "rerank", "classify"] as const;
type Operation = (typeof OPERATIONS)[number];
const CALL = /\/v[12]\/(\w+)\/?$/;
/** Documents that one search unit of a reranking covers. */
const DOCUMENTS_PER_UNIT = 100;
const NO_ATTACHMENTS = { count: 0, bytes: 0 };

/** Cohere bills what `billed_units` says; `tokens` also counts its own templates. Search units are credits here. */
export const cohere: UsageDialect = {
  needsBody: (head) => isJson(head) && operationOf(head) !== null,
  readRequest: (head, body) => {
    const operation = operationOf(head);
    if (operation === "embed" || operation === "classify") return readEmbed(operation, head, body);
    if (operation === "rerank") return readRerank(head, body);
    if (operation !== null) return readChat(operation, head, body);
    const isFree = head.method !== "POST" || head.path.endsWith("tokenize");
    return plainFacts("other", isFree ? {} : { atMost: null });
  },
  reader: cohereReader,
  askForUsage: null,
  hideAsked: null,
};

function cohereReader(facts: RequestFacts, answer: AnswerHead): UsageReader {
  if (facts.operation === "other" || answer.status < 200 || answer.status > 299) return unbilledReader(facts);
  return answerReader(answer, ANSWER, new CohereTally(facts));
}

function operationOf({ method, path }: RequestHead): Operation | null {
  const name = method === "POST" ? CALL.exec(path)?.[1] : undefined;
  return OPERATIONS.find((operation) => operation === name) ?? null;
}

const CHAT = memberSet(
  {
    model: valueAt("model"),
    stream: valueAt("stream"),
    limit: valueAt("max_tokens"),
    parts: countAt("messages", EACH, "content", EACH),
    texts: countOf("text", "messages", EACH, "content", EACH, "type"),
    imageBytes: sizeAt("messages", EACH, "content", EACH, "image_url", "url"),
    tools: countAt("tools"),
    unknown: countAt(OTHER),
  },
  wordsOf(`
    message prompt text chat_history preamble documents temperature p k seed stop_sequences frequency_penalty
    presence_penalty response_format safety_mode citation_options citation_quality tool_choice tool_results
    strict_tools force_single_step logprobs thinking truncate`),
);

function readChat(operation: Operation, head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, CHAT);
  if (body === null) return plainFacts(operation, { atMost: null });
  const { members, bytes, certain } = body;
  const limit = statedCount(members.value("limit"));
  const attachments = attachmentsIn(body, members.count("parts") - members.count("texts"), "imageBytes");
  const bounded = certain && attachments.count === 0 && members.count("unknown") === 0;
  return plainFacts(operation, {
    model: modelName(reportedText(members.value("model"))),
    stream: isTrue(members.value("stream")),
    expected: unitsOf({ input: expectedInput(bytes, attachments), output: limit || DEFAULT_OUTPUT_TOKENS }),
    atMost: bounded && limit ? unitsOf({ input: mostInput(bytes, members.count("tools") > 0), output: limit }) : null,
  });
}

const EMBED = memberSet(
  { model: valueAt("model"), objects: countAt("inputs", EACH, OTHER), unknown: countAt(OTHER) },
  wordsOf("texts input_type embedding_types output_dimension max_tokens truncate examples"),
);

function readEmbed(operation: Operation, head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, EMBED);
  if (body === null) return plainFacts(operation, { atMost: null });
  const { members, bytes, certain } = body;
  const bounded = operation === "embed" && certain && members.count("objects") + members.count("unknown") === 0;
  return plainFacts(operation, {
    model: modelName(reportedText(members.value("model"))),
    expected: unitsOf({ input: expectedInput(bytes, NO_ATTACHMENTS) }),
    atMost: bounded ? unitsOf({ input: mostInput(bytes, false) }) : null,
  });
}

const RERANK = memberSet({ model: valueAt("model"), documents: countAt("documents", EACH) });

function readRerank(head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, RERANK);
  const documents = body?.members.count("documents") ?? 0;
  return plainFacts("rerank", {
    model: modelName(reportedText(body?.members.value("model") ?? null)),
    expected: unitsOf({ credit: Math.max(1, documents / DOCUMENTS_PER_UNIT) }),
    atMost: null,
  });
}

class CohereTally implements Tally<Name> {
  readonly #facts: RequestFacts;
  #usage: Reported | null = null;
  #isOver = false;
  #failure: string | null = null;
  #textBytes = 0;

  constructor(facts: RequestFacts) {
    this.#facts = facts;
  }

  document(members: JsonMembers<Name>): void {
    const type = reportedText(members.value("type"));
    if (type === "message-end" || type === "stream-end") this.#isOver = true;
    this.#usage = reportedObject(members.value("usage")) ?? this.#usage;
    this.#failure ??= failureText(members.value("error"));
    this.#textBytes += members.size("text");
  }

  figure(end: AnswerEnd): UsageFigure {
    const told = { partial: !end.complete && !this.#isOver, failure: this.#failure };
    const counts = billedCounts(objectIn(this.#usage, "billed_units"));
    if (counts) return figureOf(this.#facts, { ...told, units: unitsOf(counts), quality: "exact" });
    if (this.#failure !== null && this.#textBytes === 0) return figureOf(this.#facts, told);
    const { output: limit, ...rest } = this.#facts.expected;
    const cut = end.whole || end.bytes === 0 ? 0 : end.bytes;
    const output = limit === undefined ? 0 : tokensInBytes(this.#textBytes || cut);
    return figureOf(this.#facts, { ...told, units: unitsOf({ ...rest, output }), quality: "estimated" });
  }
}

/** Null when nothing is there, or the numbers are no counts. */
function billedCounts(billed: Reported | null): Partial<Record<Unit, number>> | null {
  if (billed === null) return null;
  const counts = ["input_tokens", "output_tokens", "search_units", "classifications"].map((name) =>
    countIn(billed, name),
  );
  if (counts.some((count) => Number.isNaN(count)) || counts.every((count) => count === null)) return null;
  const [input, output, searches, classifications] = counts;
  const credit = (searches ?? 0) + (classifications ?? 0);
  return { input: input ?? 0, output: output ?? 0, credit, input_image: partIn(billed, "image_tokens") };
}

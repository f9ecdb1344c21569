import { type AnswerEnd, answerReader, type Tally } from "./answer-reader.ts";
import { readMessage } from "./anthropic-request.ts";
import { failureText } from "./failure-text.ts";
import { figureOf, tokensInBytes, unbilledReader, unitsOf } from "./figure.ts";
import type { JsonMembers } from "./json-members.ts";
import { anyOf, EACH, memberSet, type NameOf, sizeAt, valueAt, wordsOf } from "./member-set.ts";
import {
  asObject,
  countIn,
  memberOf,
  modelName,
  objectIn,
  partIn,
  type Reported,
  reportedObject,
  reportedText,
  tierName,
} from "./reported.ts";
import { isJson, plainFacts } from "./request-body.ts";
import type { AnswerHead, RequestFacts, RequestHead, Unit, UsageDialect, UsageFigure, UsageReader } from "./usage.ts";

type Counts = Partial<Record<Unit, number>>;

const ANSWER = memberSet({
  type: valueAt("type"),
  // A message, the beginning of a streamed one, and the deltas that tell how it ends.
  usage: valueAt("usage"),
  startUsage: valueAt("message", "usage"),
  model: anyOf(valueAt("model"), valueAt("message", "model")),
  error: valueAt("error"),
  text: anyOf(
    sizeAt("content", EACH, "text"),
    sizeAt("content", EACH, "thinking"),
    sizeAt("delta", "text"),
    sizeAt("delta", "thinking"),
    sizeAt("delta", "partial_json"),
  ),
});
type Name = NameOf<typeof ANSWER>;

const USAGE = wordsOf(`
  input_tokens output_tokens cache_creation_input_tokens cache_read_input_tokens cache_creation output_tokens_details
  server_tool_use service_tier speed iterations`);
const MAX_ITERATIONS = 100;
/** Rounds of a call whose tokens the sums of the message leave out. */
const BESIDE_THE_SUMS = new Set(["compaction", "advisor_message"]);

/**
 * Anthropic's Messages API. `input_tokens` leaves out what was read from and written to a cache. A stream tells its input
 * in `message_start` and its output in `message_delta`, cumulative, so that the last one counts. Batches are billed when
 * they are done, and counting tokens is free.
 */
export const anthropic: UsageDialect = {
  needsBody: (head) => isMessage(head) && isJson(head),
  readRequest: (head, body) => (isMessage(head) ? readMessage(head, body) : otherFacts(head)),
  reader: anthropicReader,
  askForUsage: null,
  hideAsked: null,
};

export function anthropicReader(facts: RequestFacts, answer: AnswerHead): UsageReader {
  if (facts.operation !== "messages" || answer.status < 200 || answer.status > 299) return unbilledReader(facts);
  return answerReader(answer, ANSWER, new MessageTally(facts));
}

function isMessage({ method, path }: RequestHead): boolean {
  return method === "POST" && /\/messages\/?$/.test(path);
}

function otherFacts({ method, path }: RequestHead): RequestFacts {
  if (path.endsWith("/count_tokens")) return plainFacts("count_tokens");
  return plainFacts("other", method === "POST" ? { atMost: null } : {});
}

class MessageTally implements Tally<Name> {
  readonly #facts: RequestFacts;
  /** The newest value of each member: those of a delta replace those of the start, unless they are null. */
  #usage: Record<string, unknown> | null = null;
  #outputIsFinal = false;
  #isOver = false;
  #model: string | null = null;
  #failure: string | null = null;
  #textBytes = 0;

  constructor(facts: RequestFacts) {
    this.#facts = facts;
  }

  document(members: JsonMembers<Name>): void {
    const type = reportedText(members.value("type"));
    const start = reportedObject(members.value("startUsage"));
    const usage = reportedObject(members.value("usage"));
    if (type === "message_stop" || type === "message") this.#isOver = true;
    if (usage !== null) this.#outputIsFinal = true;
    this.#take(start);
    this.#take(usage);
    this.#model ??= modelName(reportedText(members.value("model")));
    this.#failure ??= failureText(members.value("error"));
    this.#textBytes += members.size("text");
  }

  #take(usage: Reported | null): void {
    if (usage === null) return;
    this.#usage ??= {};
    for (const name of USAGE) {
      const value = memberOf(usage, name) ?? null;
      if (value !== null) this.#usage[name] = value;
    }
  }

  figure(end: AnswerEnd): UsageFigure {
    const told = {
      model: this.#model ?? this.#facts.model,
      tier: tierOf(this.#usage),
      partial: !end.complete && !this.#isOver && this.#failure === null,
      failure: this.#failure,
    };
    const counts = this.#usage && anthropicCounts(this.#usage);
    if (counts && this.#outputIsFinal) {
      return figureOf(this.#facts, { ...told, units: unitsOf(counts), quality: "exact" });
    }
    if (this.#failure !== null && this.#textBytes === 0 && counts === null) return figureOf(this.#facts, told);
    // The start of a stream counts a few tokens of output only, so that what was delivered says more.
    const cut = end.whole || end.bytes === 0 ? 0 : end.bytes;
    const delivered = tokensInBytes(this.#textBytes || cut);
    const output = Math.max(delivered, counts?.output ?? 0);
    const input = counts ?? { input: this.#facts.expected.input ?? 0 };
    return figureOf(this.#facts, { ...told, units: unitsOf({ ...input, output }), quality: "estimated" });
  }
}

function tierOf(usage: Reported | null): string | null {
  // Fast mode has a price of its own, and its calls are of the standard tier.
  return tierName(memberOf(usage, "speed")) ?? tierName(memberOf(usage, "service_tier"));
}

/** Null when the numbers are no counts. */
function anthropicCounts(usage: Reported): Counts | null {
  const input = countIn(usage, "input_tokens") ?? 0;
  const output = countIn(usage, "output_tokens") ?? 0;
  if (Number.isNaN(input) || Number.isNaN(output)) return null;
  const sum = roundOf(usage, input, output);
  const rounds = memberOf(usage, "iterations");
  for (const round of Array.isArray(rounds) ? rounds.slice(0, MAX_ITERATIONS) : []) {
    const object = asObject(round);
    if (!BESIDE_THE_SUMS.has(String(memberOf(object, "type")))) continue;
    const beside = roundOf(object ?? {}, partIn(object, "input_tokens"), partIn(object, "output_tokens"));
    for (const [unit, count] of Object.entries(beside) as [Unit, number][]) sum[unit] = (sum[unit] ?? 0) + count;
  }
  return { ...sum, web_search: partIn(objectIn(usage, "server_tool_use"), "web_search_requests") };
}

function roundOf(usage: Reported, input: number, output: number): Counts {
  const kinds = objectIn(usage, "cache_creation");
  const hour = partIn(kinds, "ephemeral_1h_input_tokens");
  const written = partIn(usage, "cache_creation_input_tokens") || partIn(kinds, "ephemeral_5m_input_tokens") + hour;
  const thinking = partIn(objectIn(usage, "output_tokens_details"), "thinking_tokens");
  return {
    input,
    cached_input: partIn(usage, "cache_read_input_tokens"),
    cache_write: written - Math.min(hour, written),
    cache_write_1h: Math.min(hour, written),
    output: output - Math.min(thinking, output),
    reasoning: Math.min(thinking, output),
  };
}

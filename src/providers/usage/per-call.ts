import { type AnswerEnd, answerReader, type Tally } from "./answer-reader.ts";
import { failureText } from "./failure-text.ts";
import { figureOf, unbilledReader, unitsOf } from "./figure.ts";
import type { JsonMembers } from "./json-members.ts";
import { EACH, memberSet, type NameOf, valueAt } from "./member-set.ts";
import { plainFacts } from "./request-body.ts";
import type { AnswerHead, RequestFacts, UsageDialect, UsageFigure, UsageReader } from "./usage.ts";

/** An error is a short answer: how much of one is looked at, in bytes. */
export const ERROR_WINDOW = 64 * 1024;

/**
 * Members at the top by which providers say in an answer with status 200 that it failed: FMP's `Error Message`, TAAPI's
 * `error`, Kraken's `error[]`, and `errors` of several.
 */
const ERRORS = memberSet({
  message: valueAt("Error Message"),
  error: valueAt("error"),
  errors: valueAt("errors"),
  // TAAPI's bulk: the last indicator that failed.
  item: valueAt("data", EACH, "errors", EACH),
  note: valueAt("Note"),
  information: valueAt("Information"),
});
type Name = NameOf<typeof ERRORS>;

const ANYWHERE = ["message", "error", "errors", "item"] as const satisfies readonly Name[];

/** One request, however much it answers, and the bytes of the answer, which some plans limit. */
export const perCall = dialect(ANYWHERE);

/** Alpha Vantage answers every request with 200. `Note` and `Information` tell of limits and plans. */
export const alphaVantage = dialect(["message", "note", "information", "error"]);

function dialect(names: readonly Name[]): UsageDialect {
  return {
    needsBody: () => false,
    readRequest: () => plainFacts("call"),
    reader: (facts, answer) => perCallReader(facts, answer, names),
    askForUsage: null,
    hideAsked: null,
  };
}

function perCallReader(facts: RequestFacts, answer: AnswerHead, names: readonly Name[]): UsageReader {
  if (answer.status < 200 || answer.status > 299) return unbilledReader(facts);
  return answerReader(answer, ERRORS, new CallTally(facts, answer, names), ERROR_WINDOW);
}

/** The reader of calls whose request tells more units than one (TAAPI's bulk). */
export function callReader(facts: RequestFacts, answer: AnswerHead): UsageReader {
  return perCallReader(facts, answer, ANYWHERE);
}

class CallTally implements Tally<Name> {
  readonly #facts: RequestFacts;
  readonly #answer: AnswerHead;
  readonly #names: readonly Name[];
  #failure: string | null = null;

  constructor(facts: RequestFacts, answer: AnswerHead, names: readonly Name[]) {
    this.#facts = facts;
    this.#answer = answer;
    this.#names = names;
  }

  document(members: JsonMembers<Name>): void {
    for (const name of this.#names) this.#failure ??= failureText(members.value(name));
  }

  figure(end: AnswerEnd): UsageFigure {
    const units = unitsOf({ ...this.#facts.expected, byte: bytesSent(this.#answer, end) });
    return figureOf(this.#facts, { units, quality: "exact", partial: !end.complete, failure: this.#failure });
  }
}

/** As they came from the provider: what was compressed is counted compressed, when its length is known. */
export function bytesSent(answer: AnswerHead, { bytes, complete }: Pick<AnswerEnd, "bytes" | "complete">): number {
  const coding = answer.field("content-encoding")?.trim().toLowerCase() ?? "";
  if (coding === "" || coding === "identity" || !complete) return bytes;
  const length = answer.field("content-length") ?? "";
  return /^\d{1,15}$/.test(length) ? Number(length) : bytes;
}

import { type AnswerEnd, answerReader, type Tally } from "./answer-reader.ts";
import { failureText } from "./failure-text.ts";
import { figureOf, unbilledReader, unitsOf } from "./figure.ts";
import type { JsonMembers } from "./json-members.ts";
import { countAt, countOf, memberSet, type NameOf, OTHER, valueAt } from "./member-set.ts";
import { bytesSent, ERROR_WINDOW } from "./per-call.ts";
import { parsed, reportedText } from "./reported.ts";
import { isJson, jsonBody, plainFacts } from "./request-body.ts";
import type {
  AnswerHead,
  BodyWindow,
  RequestFacts,
  RequestHead,
  UsageDialect,
  UsageFigure,
  UsageReader,
} from "./usage.ts";

/** Credits for one symbol, where the documentation gives them; technical indicators cost as a time series does. */
const WEIGHTS: Readonly<Record<string, number>> = {
  time_series: 1,
  quote: 1,
  price: 1,
  eod: 1,
  exchange_rate: 1,
  currency_conversion: 1,
  income_statement: 100,
};
/** More symbols than a batch can have. */
const MAX_SYMBOLS = 10_000;

/**
 * Twelve Data bills credits: one for each symbol on most endpoints, more on fundamentals. The header
 * `api-credits-used` is a sum over the minute and over all callers, so that the credits of a call follow from what it
 * asks for. Answers with `status: error` cost nothing, and they come with status 200.
 */
export const twelveData: UsageDialect = {
  needsBody: (head) => isBatch(head) && isJson(head),
  readRequest,
  reader: twelveDataReader,
  askForUsage: null,
  hideAsked: null,
};

function isBatch({ method, path }: RequestHead): boolean {
  return method === "POST" && /^\/batch\/?$/.test(path);
}

/** A batch is an object with one member for each request. */
const BATCH = memberSet({ requests: countAt(OTHER) });

function readRequest(head: RequestHead, window: BodyWindow | null): RequestFacts {
  if (isBatch(head)) {
    const requests = jsonBody(head, window, BATCH)?.members.count("requests") ?? 1;
    return plainFacts("batch", { expected: unitsOf({ credit: requests }), atMost: null });
  }
  const operation = head.path.slice(1).replace(/\/$/, "");
  const weight = weightOf(operation);
  const units = unitsOf({ credit: symbolsOf(head.query) * (weight ?? 1) });
  return plainFacts(weight === null ? "other" : operation, { expected: units, atMost: weight === null ? null : units });
}

function symbolsOf(query: string): number {
  const symbols = new URLSearchParams(query).get("symbol") ?? "";
  return Math.min(MAX_SYMBOLS, Math.max(1, symbols.split(",").filter((symbol) => symbol.trim() !== "").length));
}

const ANSWER = memberSet({
  status: valueAt("status"),
  code: valueAt("code"),
  message: valueAt("message"),
  // One member for each symbol, or for each request of a batch.
  failedSymbols: countOf("error", OTHER, "status"),
  symbolMessage: valueAt(OTHER, "message"),
  failedRequests: countOf("error", "data", OTHER, "status"),
  failedResponses: countOf("error", "data", OTHER, "response", "status"),
  responseMessage: valueAt("data", OTHER, "response", "message"),
});
type Name = NameOf<typeof ANSWER>;

function twelveDataReader(facts: RequestFacts, answer: AnswerHead): UsageReader {
  if (answer.status < 200 || answer.status > 299) return unbilledReader(facts);
  // The failures of a batch may stand behind megabytes of prices; that of one symbol is short.
  const window = (facts.expected.credit ?? 1) > 1 ? Number.POSITIVE_INFINITY : ERROR_WINDOW;
  return answerReader(answer, ANSWER, new CreditTally(facts, answer), window);
}

class CreditTally implements Tally<Name> {
  readonly #facts: RequestFacts;
  readonly #answer: AnswerHead;
  #failed = 0;
  #hasFailed = false;
  #failure: string | null = null;

  constructor(facts: RequestFacts, answer: AnswerHead) {
    this.#facts = facts;
    this.#answer = answer;
  }

  document(members: JsonMembers<Name>): void {
    this.#failed =
      members.count("failedSymbols") + Math.max(members.count("failedRequests"), members.count("failedResponses"));
    this.#hasFailed = reportedText(members.value("status")) === "error";
    const inside = members.value("symbolMessage") ?? members.value("responseMessage");
    if (this.#failed > 0) this.#failure = failureText(inside) ?? "error";
    if (this.#hasFailed) this.#failure = withCode(members.value("code"), members.value("message"));
  }

  figure(end: AnswerEnd): UsageFigure {
    const told = { partial: !end.complete, failure: this.#failure };
    const byte = bytesSent(this.#answer, end);
    if (this.#hasFailed) return figureOf(this.#facts, { ...told, units: unitsOf({ byte }), quality: "exact" });
    const weight = weightOf(this.#facts.operation);
    const credit = Math.max(0, (this.#facts.expected.credit ?? 1) - this.#failed * (weight ?? 1));
    const quality = weight === null ? "estimated" : "exact";
    return figureOf(this.#facts, { ...told, units: unitsOf({ credit, byte }), quality });
  }
}

/** Null for endpoints of which it is not known. */
function weightOf(operation: string): number | null {
  return Object.hasOwn(WEIGHTS, operation) ? (WEIGHTS[operation] ?? null) : null;
}

function withCode(code: Buffer | null, message: Buffer | null): string {
  const number = parsed(code);
  const text = failureText(message) ?? "error";
  return typeof number === "number" ? `${number}: ${text}` : text;
}

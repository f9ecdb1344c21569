/** What a provider bills by. Disjoint: no token is in two of them, so that a sum over units is a sum of tokens. */
export const TOKEN_UNITS = [
  /** read by the model, neither from nor into a cache */
  "input",
  "cached_input",
  "cache_write",
  /** written to a cache that is kept for an hour */
  "cache_write_1h",
  "input_audio",
  "input_image",
  /** visible output */
  "output",
  "reasoning",
  "output_audio",
  "output_image",
] as const;

/** Everything else that is counted. */
export const OTHER_UNITS = [
  "request",
  /** bytes of the answer's body, as they came from the provider */
  "byte",
  "credit",
  /** pictures made */
  "image",
  /** characters spoken or translated */
  "character",
  /** seconds of audio or video */
  "second",
  /** uses of the provider's own web search */
  "web_search",
  /** other uses of the provider's own tools */
  "tool_call",
] as const;

export const UNITS = [...TOKEN_UNITS, ...OTHER_UNITS] as const;
export type TokenUnit = (typeof TOKEN_UNITS)[number];
export type Unit = (typeof UNITS)[number];

/** Whole numbers, at least 0; a unit that is absent was not used. */
export type Units = Readonly<Partial<Record<Unit, number>>>;

/** Tokens of all kinds. */
export function tokensOf(units: Units): number {
  let sum = 0;
  for (const unit of TOKEN_UNITS) sum += units[unit] ?? 0;
  return sum;
}

/** What one request says of what it will use, from its head and a bounded window of its body. */
export interface RequestFacts {
  /** What is called, from a closed set of the dialect: `chat`, `responses`, `embeddings`, `quote`; `other`. */
  readonly operation: string;
  readonly model: string | null;
  /** Whether the answer is asked for as a stream of events. */
  readonly stream: boolean;
  /** The provider would report the usage of this stream only when asked; `askForUsage` asks. */
  readonly canAsk: boolean;
  /** What the call probably uses: input from the request's size, output from what it allows. */
  readonly expected: Units;
  /** What it uses at most; null when nothing in the request bounds it (pictures by URL, no output limit). */
  readonly atMost: Units | null;
}

/** `exact`: the provider said so. `estimated`: worked out from sizes. `none`: nothing was used, or nobody can know. */
export type UsageQuality = "exact" | "estimated" | "none";

/** What one exchange used. */
export interface UsageFigure {
  /** The model that answered, else the one that was asked for. */
  readonly model: string | null;
  /** The provider's name for how it was served, when it has another price: `batch`, `flex`, `priority`. */
  readonly tier: string | null;
  readonly units: Units;
  readonly quality: UsageQuality;
  /** The answer broke off, so the provider may have used more. Behind an error nothing is used: clients need not wait for the end. */
  readonly partial: boolean;
  /**
   * What the provider says it charged for this call, in nano-dollars; null when it does not say. It comes before every
   * price table: it knows discounts, its own tools and the models that it chose.
   */
  readonly charged: number | null;
  /** An error inside an answer that looks fine (status 200), as the provider words it, for the catalog's rules; else null. */
  readonly failure: string | null;
}

/** Reads the usage out of the bytes of one answer as they pass. Keeps a bounded part of them; never throws. */
export interface UsageReader {
  /** Decoded bytes of the body, in order. They are not kept or changed. */
  data(chunk: Buffer): void;
  /** @param complete false when the answer broke off */
  end(complete: boolean): UsageFigure;
}

/** What is known of an answer when its head has come. */
export interface AnswerHead {
  readonly status: number;
  /** Value of Content-Type, lower-case; empty when there is none. */
  readonly contentType: string;
  /** Value of a field by its lower-case name; null when there is none. */
  readonly field: (name: string) => string | null;
}

/** What is known of a request when it is about to be sent. */
export interface RequestHead {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Raw, without `?`. */
  readonly query: string;
  /** Value of Content-Type, lower-case; empty when there is none. */
  readonly contentType: string;
}

/** The beginning of a request's body, at most 1 MiB of it. */
export interface BodyWindow {
  readonly bytes: Buffer;
  /** True when the window is the whole body. */
  readonly whole: boolean;
  /** Length of the whole body in bytes; null when it is not known yet. */
  readonly length: number | null;
}

/** How the APIs of one kind report usage. */
export interface UsageDialect {
  /** Whether the body of a request has to be looked at before it is sent. */
  readonly needsBody: (head: RequestHead) => boolean;
  /** @param body null when the request has none, or `needsBody` said no */
  readonly readRequest: (head: RequestHead, body: BodyWindow | null) => RequestFacts;
  readonly reader: (facts: RequestFacts, answer: AnswerHead) => UsageReader;
  /** The same JSON body, asking for usage; null when it cannot be changed safely. Only where `canAsk` was true. */
  readonly askForUsage: ((body: Buffer) => Buffer | null) | null;
  /**
   * Takes out of an event stream what is there only because it was asked for: the client's bytes are those that it
   * would have got. Null for a dialect that cannot ask.
   */
  readonly hideAsked: (() => EventFilter) | null;
}

/** Passes a stream of server-sent events on, some of them changed or left out. */
export interface EventFilter {
  /** The bytes that can be passed on now; an event passes as soon as it is complete. */
  data(chunk: Buffer): Buffer;
  /** What is left at the end of the stream. */
  end(): Buffer;
}

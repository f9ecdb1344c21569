import {
  classifyTraffic,
  mayBeFailure,
  TRAFFIC_BODY_BYTES,
  type TrafficMeaning,
} from "../../providers/classify-traffic.ts";
import { limitsRecord, type ProviderLimits, readLimits } from "../../providers/limit-headers.ts";
import type { Provider } from "../../providers/schema.ts";
import { withinAllowed } from "../../providers/usage/figure.ts";
import type { UsageFigure, UsageReader } from "../../providers/usage/usage.ts";
import type { BodyTap } from "./answer-body.ts";
import type { ReadHead } from "./answer-head.ts";
import type { Call } from "./call.ts";
import type { Attempt } from "./pool-health.ts";
import type { Pass } from "./provider-limits.ts";

/**
 * Watches one answer: what it says of the key and the provider, what it tells of the provider's limits, and what was
 * used. Tells the ones who have to know as soon as it is known, and keeps a bounded beginning of possible failures.
 */
export interface WatchOptions {
  readonly provider: Provider;
  readonly call: Call;
  readonly attempt: Attempt;
  /** Null for routes without a credential. */
  readonly pass: Pass | null;
  /** Milliseconds since the epoch, from the clock of the provider's limits. */
  readonly nowMs: () => number;
}

const EMPTY = Buffer.alloc(0);
const EVENTS = /^text\/event-stream\b/;

export class AnswerWatch {
  readonly #options: WatchOptions;
  #head: ReadHead | null = null;
  #reader: UsageReader | null = null;
  #beginning: Buffer[] = [];
  #beginningBytes = 0;
  #limits: ProviderLimits | null = null;
  /** Null until it is known. */
  meaning: TrafficMeaning | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  get head(): ReadHead | null {
    return this.#head;
  }

  get limits(): ProviderLimits | null {
    return this.#limits;
  }

  /** The limits that the answer told, as the usage log keeps them; null when it told none. */
  get limitsText(): string | null {
    return this.#limits === null ? null : limitsRecord(this.#limits);
  }

  /** The head has come. */
  began(head: ReadHead): void {
    this.#head = head;
    if (!this.needsBody(head))
      this.#know(head, null, classifyTraffic(this.#options.provider, { ...plain(head), bodyKnown: true }));
  }

  /** Whether the beginning of the body may show that it is a failure. */
  needsBody({ status, contentType }: ReadHead): boolean {
    return mayBeFailure(this.#options.provider, status) && !(status < 300 && EVENTS.test(contentType));
  }

  /** @param body its beginning; null when it cannot be read */
  judged(head: ReadHead, body: Buffer | null): TrafficMeaning {
    if (this.meaning !== null) return this.meaning;
    const answer = { ...plain(head), body: body ?? EMPTY, bodyKnown: body !== null };
    const meaning = classifyTraffic(this.#options.provider, answer);
    this.#know(head, body, meaning);
    return meaning;
  }

  /** What looks at the body as it passes. */
  tap(head: ReadHead): BodyTap {
    const { call } = this.#options;
    const reader = call.dialect.reader(call.facts, head);
    this.#reader = reader;
    return {
      data: (chunk) => {
        if (this.meaning === null) this.#keep(head, chunk);
        reader.data(chunk);
      },
    };
  }

  /** The provider has switched protocols. */
  upgraded(): void {
    this.meaning = "ok";
    this.#options.attempt.answered("ok", null);
    this.#options.pass?.answered(101, { windows: [], retryAtMs: null, capped: false });
  }

  /**
   * The answer is over.
   * @param complete false when it broke off
   * @param bytesDown of its body, as they came from the provider
   * @returns what was used; null when no answer came, so that nobody knows
   */
  ended(complete: boolean, bytesDown: number): UsageFigure | null {
    const head = this.#head;
    if (head === null) return null;
    if (this.meaning === null) this.#judgeKept(head);
    const { call } = this.#options;
    const unread = this.#reader === null && !head.bodiless && bytesDown > 0;
    this.#reader ??= call.dialect.reader(call.facts, head);
    const figure = withinAllowed(this.#reader.end(complete), call.facts);
    const counted = withBytes(figure, bytesDown);
    if (!unread || head.status >= 300) return counted;
    // Nobody could look into it: what the request says is all that is known.
    return { ...counted, units: { ...counted.units, ...call.facts.expected }, quality: "estimated" };
  }

  #keep(head: ReadHead, chunk: Buffer): void {
    this.#beginning.push(Buffer.from(chunk.subarray(0, TRAFFIC_BODY_BYTES - this.#beginningBytes)));
    this.#beginningBytes += chunk.length;
    if (this.#beginningBytes >= TRAFFIC_BODY_BYTES) this.#judgeKept(head);
  }

  #judgeKept(head: ReadHead): void {
    const seen = Buffer.concat(this.#beginning);
    this.judged(head, this.#reader === null ? null : seen);
    for (const kept of this.#beginning.splice(0)) kept.fill(0);
    seen.fill(0);
  }

  #know(head: ReadHead, body: Buffer | null, meaning: TrafficMeaning): void {
    const { provider, attempt, pass, nowMs } = this.#options;
    this.meaning = meaning;
    // Some say with status 200 that it was too much.
    const status = meaning === "limited" && head.status < 400 ? 429 : head.status;
    const { field } = head;
    const names = () => head.fields.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
    const limits = readLimits(provider.limitHeaders, { status, field, names, body, nowMs: nowMs() });
    this.#limits = limits;
    pass?.answered(status, limits);
    attempt.answered(meaning, limits.retryAtMs);
  }
}

/** The body's bytes are counted on the wire; who reads the answer sees it without its coding. */
function withBytes(figure: UsageFigure, bytesDown: number): UsageFigure {
  if (figure.units.byte === undefined) return figure;
  return { ...figure, units: { ...figure.units, byte: bytesDown } };
}

function plain({ status, field }: ReadHead): { status: number; body: Buffer; has: (name: string) => boolean } {
  return { status, body: EMPTY, has: (name) => field(name) !== null };
}

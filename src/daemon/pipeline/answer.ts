import { AnswerBody, type BodyRules, decoded, unreadableMinted } from "./answer-body.ts";
import { type HeadOptions, isTransferCoded, type ReadHead, readHead, scrubRaw } from "./answer-head.ts";
import { ProxyError, toProxyError } from "./errors.ts";
import type { Downstream } from "./exchange.ts";
import { responseTrailers } from "./headers.ts";
import { MAX_MINTED_BODY } from "./minted.ts";

/**
 * One answer on its way to the client: its head is read, it is judged where the route may try again, and its body
 * follows as far as it need not be seen as a whole (answer-body.ts).
 */

/** Decides about an answer before any of it has gone to the client. */
export interface Judge {
  /** Whether the beginning of the body is needed to tell. */
  needsBody(head: ReadHead): boolean;
  /**
   * @param body its beginning; null when there is none, or it cannot be read
   * @returns true when the answer is for the client, false when the request will be tried again
   */
  accepts(head: ReadHead, body: Buffer | null): boolean;
}

export interface AnswerRules extends HeadOptions, BodyRules {
  /** Told of the head before anything else happens with the answer. */
  readonly began: (head: ReadHead) => void;
  /** Null when the first answer is the only one. */
  readonly judge: Judge | null;
}

/** What the answer wants of the connection that it comes from. */
export interface Source {
  pause(): void;
  resume(): void;
  /** It cannot be passed on: the exchange ends with this. */
  fail(error: ProxyError): void;
  /** Nothing of it goes to the client: the request is tried again. Also when the provider says nothing any more. */
  refused(): void;
}

/** Answers up to this length, in bytes, are collected for one turn of the event loop, so that they keep their length. */
const SHORT_BYTES = 64 * 1024;
/** What a judge gets to see at most, in bytes, and how long it waits for it, in ms. */
const JUDGED_BYTES = 16 * 1024;
const JUDGED_MS = 1_000;

const EMPTY = Buffer.alloc(0);

/**
 * `judging`, `minting` and `early` collect the beginning of the body: until it can be judged, until it is whole, or until
 * this turn of the event loop ends. `passing`: what comes goes on. `refused`: what comes is dropped.
 */
type Phase = "head" | "judging" | "minting" | "early" | "passing" | "refused" | "ended";

const MOST_COLLECTED: Readonly<Partial<Record<Phase, number>>> = {
  judging: JUDGED_BYTES,
  minting: MAX_MINTED_BODY,
  early: SHORT_BYTES,
};

export class Answer {
  readonly #rules: AnswerRules;
  readonly #down: Downstream;
  readonly #source: Source;
  #phase: Phase = "head";
  #head: ReadHead | null = null;
  #collected: Buffer[] = [];
  #received = 0;
  #cancel: () => void = nothing;
  #body: AnswerBody | null = null;
  #scrubbed = 0;
  #ended = false;

  constructor(rules: AnswerRules, down: Downstream, source: Source) {
    this.#rules = rules;
    this.#down = down;
    this.#source = source;
  }

  get head(): ReadHead | null {
    return this.#head;
  }

  /** Secrets taken out of head, body and trailers. */
  get scrubbed(): number {
    return this.#scrubbed + (this.#body?.scrubbed ?? 0);
  }

  informational(status: number, raw: readonly Buffer[]): void {
    this.#down.sendInformational(status, readHead(status, "", raw, this.#rules).fields);
  }

  /** @throws ProxyError when it may not pass */
  start(status: number, reason: string, raw: readonly Buffer[]): void {
    if (isTransferCoded(raw)) {
      throw new ProxyError("upstream_protocol", "the provider's answer has a transfer coding that nobody asked for", {
        reason: "transfer_coding",
      });
    }
    const head = readHead(status, reason, raw, this.#rules);
    const { judge } = this.#rules;
    this.#head = head;
    this.#scrubbed += head.scrubbed;
    this.#rules.began(head);
    if (judge?.needsBody(head) && !head.bodiless) {
      this.#phase = "judging";
      this.#wait(timer(JUDGED_MS, () => this.#guarded(() => this.#judge(false))));
    } else if (judge && !judge.accepts(head, null)) this.#refuse();
    else this.#accepted(head);
  }

  data(chunk: Buffer): void {
    this.#received += chunk.length;
    if (this.#phase === "passing") this.#body?.write(chunk, this.#isWhole());
    if (this.#phase === "passing" || this.#phase === "refused") return;
    this.#collected.push(chunk);
    if (this.#isWhole()) this.#collectedAll(true);
    else if (this.#received >= (MOST_COLLECTED[this.#phase] ?? 0) || !this.#isShort()) this.#collectedAll(false);
  }

  /** @param done called once the last byte has been handed to the client */
  end(trailers: readonly Buffer[] | null, done: () => void): void {
    this.#ended = true;
    if (this.#phase === "refused" || this.#head === null) return;
    const { raw, count } = scrubRaw(trailers ?? [], this.#rules.scrub);
    const fields = responseTrailers(raw);
    this.#scrubbed += count;
    if (this.#phase !== "passing") this.#collectedAll(true);
    // The judge may have refused it just now.
    if (this.#body === null) return;
    this.#phase = "ended";
    this.#body.end(() => {
      this.#down.end(fields);
      done();
    });
  }

  /** The exchange is over, whatever else comes. */
  close(): void {
    this.#cancel();
    this.#body?.close();
    for (const chunk of this.#collected.splice(0)) chunk.fill(0);
  }

  #isWhole(): boolean {
    return this.#ended || this.#received === this.#head?.length;
  }

  /** A body of this length is worth waiting for while it arrives; one without a length is a stream. */
  #isShort(): boolean {
    const length = this.#head?.length ?? null;
    return this.#phase !== "early" || (length !== null && length <= SHORT_BYTES);
  }

  #accepted(head: ReadHead): void {
    const minted = this.#rules.minted !== null && head.status < 300 && !head.bodiless;
    this.#phase = minted ? "minting" : "early";
    if (head.bodiless || head.length === 0) this.#pass(true);
    else if (!minted) this.#wait(turn(() => this.#guarded(() => this.#collectedAll(false))));
  }

  #wait(cancel: () => void): void {
    this.#cancel();
    this.#cancel = cancel;
  }

  #collectedAll(whole: boolean): void {
    if (this.#phase === "judging") this.#judge(whole);
    else if (this.#phase === "minting" && !whole) throw unreadableMinted();
    else this.#pass(whole);
  }

  #judge(whole: boolean): void {
    const head = this.#head;
    if (head === null) return;
    const raw = this.#joined();
    const readable = head.coding === "identity" || whole;
    const seen = readable && head.coding !== null ? decoded(head, raw).subarray(0, JUDGED_BYTES) : null;
    const accepted = this.#rules.judge?.accepts(head, seen) ?? true;
    if (!accepted) {
      this.#refuse();
      return;
    }
    this.#accepted(head);
    if (this.#phase === "passing") return;
    if (whole || this.#received > SHORT_BYTES || !this.#isShort()) this.#collectedAll(whole);
  }

  /** What was collected, in one piece that stays among it. */
  #joined(): Buffer {
    const [only, ...others] = this.#collected;
    if (only === undefined) return EMPTY;
    if (others.length === 0) return only;
    const whole = Buffer.concat(this.#collected);
    // A provider may repeat the key; what is copied is not left behind.
    for (const chunk of this.#collected) chunk.fill(0);
    this.#collected = [whole];
    return whole;
  }

  /** Nothing of it goes to the client; the rest is dropped as it comes. */
  #refuse(): void {
    this.#cancel();
    this.#phase = "refused";
    for (const chunk of this.#collected.splice(0)) chunk.fill(0);
    this.#source.refused();
  }

  get refused(): boolean {
    return this.#phase === "refused";
  }

  #pass(whole: boolean): void {
    const head = this.#head;
    if (head === null) return;
    this.#cancel();
    const raw = this.#joined();
    this.#collected = [];
    this.#body = new AnswerBody(head, this.#rules, this.#down, this.#source);
    this.#phase = "passing";
    this.#body.begin(raw, whole);
  }

  /** For what happens outside a call of the source. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#source.fail(toProxyError(error));
    }
  }
}

function nothing(): void {}

function timer(ms: number, fire: () => void): () => void {
  const handle = setTimeout(fire, ms);
  return () => clearTimeout(handle);
}

/** After everything that has already arrived. */
function turn(fire: () => void): () => void {
  const handle = setImmediate(fire);
  return () => clearImmediate(handle);
}

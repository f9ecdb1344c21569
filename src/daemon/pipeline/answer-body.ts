import type { EventFilter } from "../../providers/usage/usage.ts";
import { decodedFields, type ReadHead, type ScrubRule } from "./answer-head.ts";
import type { Coding } from "./content-coding.ts";
import {
  type CodingStage,
  decodeWhole,
  type StageEvents,
  startDecoding,
  startEncoding,
  unreadableCoding,
} from "./decode.ts";
import { ProxyError, toProxyError } from "./errors.ts";
import type { Downstream } from "./exchange.ts";
import { type MintedRule, UnreadableAnswer, withoutMinted } from "./minted.ts";
import { Scrubber } from "./scrub.ts";

/**
 * The way of an answer's bytes: coding taken off, scrubbed, looked at, what was only asked for hidden, coding put on
 * where the client takes nothing else. A body that is here as a whole keeps an exact Content-Length.
 */

/** Looks at an answer's bytes as they pass. */
export interface BodyTap {
  data(chunk: Buffer): void;
}

export interface BodyRules {
  readonly route: string | null;
  readonly scrub: ScrubRule | null;
  readonly minted: MintedRule | null;
  /** Null: the client takes answers without a coding. */
  readonly mustEncode: Coding | null;
  /** Null when nobody wants to see the body. Not asked for one that passes in a coding. */
  readonly tap: (head: ReadHead) => BodyTap | null;
  /** Null when nothing was asked for that the client did not ask for. */
  readonly hide: (head: ReadHead) => EventFilter | null;
  /** Fields in sidekey's own name, flat. */
  readonly ownFields: (head: ReadHead) => readonly string[];
}

/** What the body wants of the connection that it comes from. */
export interface BodySource {
  pause(): void;
  resume(): void;
  fail(error: ProxyError): void;
}

export class AnswerBody {
  readonly #head: ReadHead;
  readonly #rules: BodyRules;
  readonly #down: Downstream;
  readonly #source: BodySource;
  readonly #tap: BodyTap | null;
  readonly #hide: EventFilter | null;
  readonly #scrubber: Scrubber | null;
  /** Nothing is looked for in it: it passes as it came. */
  readonly #untouched: boolean;
  #decoder: CodingStage | null = null;
  #encoder: CodingStage | null = null;
  #full = false;
  #finished: () => void = () => {};
  #minted = 0;

  /** @throws ProxyError when its coding cannot be read and it would have to be */
  constructor(head: ReadHead, rules: BodyRules, down: Downstream, source: BodySource) {
    this.#head = head;
    this.#rules = rules;
    this.#down = down;
    this.#source = source;
    const { scrub, minted } = rules;
    if (head.coding === null && !head.bodiless && (scrub !== null || minted !== null))
      throw unreadableCoding(rules.route);
    this.#hide = head.coding === null || head.bodiless ? null : rules.hide(head);
    this.#tap = this.#isRead() ? rules.tap(head) : null;
    this.#scrubber = scrub === null ? null : new Scrubber({ ...scrub, sameLength: head.binary });
    this.#untouched = scrub === null && minted === null && this.#tap === null && this.#hide === null;
  }

  /** Secrets and minted tokens taken out. */
  get scrubbed(): number {
    return this.#minted + (this.#scrubber?.count ?? 0);
  }

  /**
   * Sends the head, and what has come of the body.
   * @param whole `raw` is all of it
   */
  begin(raw: Buffer, whole: boolean): void {
    if (this.#untouched || this.#head.bodiless) this.#beginUntouched(raw);
    else if (whole) this.#beginWhole(raw);
    else this.#beginStream(raw);
  }

  /** The source is paused when this is more than the client takes for now. */
  write(chunk: Buffer, last: boolean): void {
    if (this.#decoder) {
      if (!this.#decoder.write(chunk)) this.#source.pause();
    } else if (this.#untouched) this.#send(chunk);
    else this.#clear(chunk, last);
  }

  end(finished: () => void): void {
    this.#finished = finished;
    if (this.#decoder) this.#decoder.end();
    else this.#finish();
  }

  close(): void {
    this.#decoder?.destroy();
    this.#encoder?.destroy();
  }

  #beginUntouched(raw: Buffer): void {
    const { fields, codings, coding, length } = this.#head;
    // What a HEAD is told is what a GET would be told.
    const read = !this.#untouched && coding !== "identity";
    if (read) this.#sendHead(decodedFields(fields), null);
    else this.#sendHead([...fields, ...codings.flatMap((each) => ["Content-Encoding", each])], length);
    if (raw.length > 0) this.#send(raw);
  }

  #beginWhole(raw: Buffer): void {
    const body = this.#withoutMinted(decoded(this.#head, raw));
    const out: Buffer[] = [];
    for (const piece of this.#scrubber?.push(body, true) ?? [body]) {
      this.#tap?.data(piece);
      out.push(this.#hide?.data(piece) ?? piece);
    }
    if (this.#hide) out.push(this.#hide.end());
    const length = out.reduce((sum, piece) => sum + piece.length, 0);
    const encodes = this.#beginEncoding(length);
    this.#sendHead(this.#readFields(), encodes ? null : length);
    for (const piece of out) if (piece.length > 0) this.#encode(piece);
  }

  #beginStream(raw: Buffer): void {
    const { coding, binary, length } = this.#head;
    if (coding !== "identity" && coding !== null) this.#decoder = startDecoding(coding, this.#decoderEvents());
    const encodes = this.#beginEncoding(null);
    this.#sendHead(this.#readFields(), binary && this.#decoder === null && !encodes ? length : null);
    if (raw.length > 0) this.write(raw, raw.length === length);
  }

  /** Whether the body passes without a coding: nothing is decoded only to be looked at. */
  #isRead(): boolean {
    const { coding, bodiless } = this.#head;
    const { scrub, minted } = this.#rules;
    if (coding === null || bodiless) return false;
    return coding === "identity" || scrub !== null || minted !== null || this.#hide !== null;
  }

  #withoutMinted(body: Buffer): Buffer {
    const { minted } = this.#rules;
    if (minted === null || this.#head.status >= 300) return body;
    try {
      const clean = withoutMinted(body, this.#head.contentType, minted);
      this.#minted = clean.count;
      return clean.body;
    } catch (error) {
      if (error instanceof UnreadableAnswer) throw unreadableMinted();
      throw error;
    }
  }

  /** @param length of a whole body; an empty one needs no coding */
  #beginEncoding(length: number | null): boolean {
    const { mustEncode } = this.#rules;
    if (mustEncode === null || length === 0) return false;
    this.#encoder = startEncoding(mustEncode, this.#encoderEvents());
    return true;
  }

  #readFields(): string[] {
    const { coding, fields } = this.#head;
    const changed = coding !== "identity" || this.#encoder !== null;
    const own = changed ? decodedFields(fields) : [...fields];
    return this.#encoder === null ? own : [...own, "Content-Encoding", this.#rules.mustEncode ?? ""];
  }

  #sendHead(fields: readonly string[], length: number | null): void {
    const { status, reason } = this.#head;
    // RFC 9110 section 8.6: a 204 has no length; some providers send 0, which some clients refuse.
    const counted = length === null || status === 204 ? [] : ["Content-Length", String(length)];
    const own = this.#rules.ownFields(this.#head);
    this.#down.sendHead(status, reason, [...withoutNames(fields, own), ...counted, ...own], true);
  }

  /** Looks for secrets, and passes on what is left. */
  #clear(chunk: Buffer, last: boolean): void {
    const pieces = this.#scrubber?.push(chunk, last) ?? [chunk];
    const [only] = pieces;
    // Joined, so that an event stays one piece for the client too.
    if (only) this.#show(pieces.length === 1 ? only : Buffer.concat(pieces));
  }

  #show(piece: Buffer): void {
    this.#tap?.data(piece);
    const shown = this.#hide?.data(piece) ?? piece;
    if (shown.length > 0) this.#encode(shown);
  }

  #encode(bytes: Buffer): void {
    if (this.#encoder === null) this.#send(bytes);
    else if (!this.#encoder.write(bytes)) this.#hold();
  }

  #send(bytes: Buffer): void {
    if (this.#down.write(bytes)) return;
    if (this.#encoder) this.#encoder.pause();
    else this.#hold();
    this.#down.onDrain(() => {
      if (this.#encoder) this.#encoder.resume();
      else this.#go();
    });
  }

  #hold(): void {
    if (this.#full) return;
    this.#full = true;
    if (this.#decoder) this.#decoder.pause();
    else this.#source.pause();
  }

  #go(): void {
    if (!this.#full) return;
    this.#full = false;
    if (this.#decoder) this.#decoder.resume();
    else this.#source.resume();
  }

  #finish(): void {
    for (const piece of this.#scrubber?.end() ?? []) this.#show(piece);
    const rest = this.#hide?.end();
    if (rest && rest.length > 0) this.#encode(rest);
    if (this.#encoder) this.#encoder.end();
    else this.#finished();
  }

  #decoderEvents(): StageEvents {
    return {
      onData: (chunk) => this.#guarded(() => this.#clear(chunk, false)),
      onEnd: () => this.#guarded(() => this.#finish()),
      onDrain: () => this.#source.resume(),
      onError: (error) => this.#source.fail(error),
    };
  }

  #encoderEvents(): StageEvents {
    return {
      onData: (chunk) => this.#send(chunk),
      onEnd: () => this.#finished(),
      onDrain: () => this.#go(),
      onError: (error) => this.#source.fail(error),
    };
  }

  /** What is thrown inside a stream's event would end the process. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#source.fail(toProxyError(error));
    }
  }
}

/** Fields of the provider make way for sidekey's own of the same name. */
function withoutNames(fields: readonly string[], own: readonly string[]): readonly string[] {
  if (own.length === 0) return fields;
  const names = new Set(own.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()));
  return fields.filter((_, at) => !names.has((fields[at - (at % 2)] ?? "").toLowerCase()));
}

/** All of a body without its coding. @throws ProxyError upstream_protocol */
export function decoded({ coding }: ReadHead, raw: Buffer): Buffer {
  return coding === "identity" || coding === null || raw.length === 0 ? raw : decodeWhole(coding, raw);
}

/** A token endpoint's answer that cannot be searched for tokens. */
export function unreadableMinted(): ProxyError {
  return new ProxyError(
    "upstream_protocol",
    "the provider's answer may hold a new token, and is not JSON or a form of at most 64 KiB in which sidekey could find it",
    { reason: "minted_unreadable" },
  );
}

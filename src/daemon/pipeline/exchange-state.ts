import type { Duplex } from "node:stream";
import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { randomBytes } from "../../store/crypto.ts";
import type { Attempts } from "./attempts.ts";
import type { Choice } from "./choose.ts";
import { asServer, type ProxyError, problemFields, problemJson } from "./errors.ts";
import type { Identity, Incoming, Outcome, ParsedRequest } from "./exchange.ts";
import type { Transfer } from "./forward.ts";
import type { LimiterHold } from "./limiter.ts";
import { NOTHING_SPENT, type Spent } from "./settle.ts";

/** Random per process, so that request ids of two runs never collide; the counter keeps them ordered. */
const PROCESS_ID = randomBytes(6).toString("base64url");
let counter = 0;

const NOBODY: Identity = { client: "", user: null };

/** What one exchange has learnt so far. Stages fill it in order; `outcome` reads it once at the end. */
export class ExchangeState {
  readonly id: string;
  readonly atMs: number;
  readonly incoming: Incoming;
  /** Null until the target stage has accepted the request. */
  parsed: ParsedRequest | null = null;
  /** Of the try that runs, or was the last. */
  transfer: Transfer = { status: 0, bytesUp: 0, bytesDown: 0, sent: false };
  /** The one snapshot of this exchange (guarantee G10). */
  policy: PolicySnapshot | null = null;
  /** What stands where the provider takes its key in the JSON body. */
  bodyToken: string | null = null;
  identity: Identity = NOBODY;
  route: Route | null = null;
  choice: Choice | null = null;
  hold: LimiterHold | null = null;
  /** Null until it is known what is asked of the provider. */
  attempts: Attempts | null = null;
  /** A complete answer has gone to the client. */
  answered = false;
  spent: Spent = NOTHING_SPENT;
  /** Secrets taken out of what is no HTTP answer. */
  scrubbed = 0;
  /** Among its client's exchanges in flight. */
  counted = false;
  /** Milliseconds spent queueing for limits, sidekey's and the provider's. */
  waitMs = 0;
  #dispatchedAt: number | null = null;
  #dispatches = 0;
  #continued = false;
  /** What the tries before this one have sent and received. */
  #earlier = { bytesUp: 0, bytesDown: 0, sent: false };
  #abort: AbortController | null = null;
  #outcome = "ok";
  #reason: string | null = null;

  constructor(incoming: Incoming, nowMs: number) {
    counter = (counter + 1) % Number.MAX_SAFE_INTEGER;
    this.id = `${PROCESS_ID}-${counter.toString(36)}`;
    this.atMs = nowMs;
    this.incoming = incoming;
  }

  /** Aborts when the client goes away while its request waits. */
  clientGone(): AbortSignal {
    if (!this.#abort) {
      const controller = new AbortController();
      this.#abort = controller;
      this.incoming.downstream.onClose(() => controller.abort());
    }
    return this.#abort.signal;
  }

  /** A try goes out. */
  dispatched(): void {
    this.#dispatches++;
    this.#dispatchedAt ??= performance.now();
  }

  /** The client may send its body; said once. */
  continued(): void {
    if (this.#continued) return;
    this.#continued = true;
    this.incoming.downstream.sendContinue();
  }

  /** For another try; what was counted stays. */
  nextTransfer(): Transfer {
    const { bytesUp, bytesDown, sent } = this.transfer;
    this.#earlier = {
      bytesUp: this.#earlier.bytesUp + bytesUp,
      bytesDown: this.#earlier.bytesDown + bytesDown,
      sent: this.#earlier.sent || sent,
    };
    this.transfer = { status: 0, bytesUp: 0, bytesDown: 0, sent: false };
    return this.transfer;
  }

  /** Something has left for the provider. */
  get sent(): boolean {
    return this.#earlier.sent || this.transfer.sent;
  }

  /** Counts what passes between two sockets that are joined byte for byte. */
  countBytes(down: Duplex, up: Duplex): void {
    down.on("data", (chunk: Buffer) => {
      this.transfer.bytesUp += chunk.length;
    });
    up.on("data", (chunk: Buffer) => {
      this.transfer.bytesDown += chunk.length;
    });
  }

  /** Tells the client, as far as that is still possible; a half-sent answer is cut, never completed. */
  fail(cause: ProxyError): void {
    const error = this.incoming.form === "origin" ? asServer(cause) : cause;
    const down = this.incoming.downstream;
    this.#reason = error.reason;
    this.#outcome = error.code;
    if (error.code === "client_closed") {
      down.abort();
      return;
    }
    if (down.headSent) {
      this.#outcome = "truncated";
      this.#reason = error.reason ?? error.code;
      down.abort();
      return;
    }
    const body = problemJson(error, this.id);
    this.transfer.status = error.status;
    const fields = [...problemFields(error, body.length), ...(this.attempts?.fields() ?? [])];
    down.sendHead(error.status, "", fields, this.#mayGoOn(error));
    if (this.incoming.method !== "HEAD") down.write(body);
    down.end([]);
  }

  outcome(): Outcome {
    const { incoming, transfer } = this;
    const target = this.parsed?.target;
    const endedAt = performance.now();
    return {
      id: this.id,
      atMs: this.atMs,
      form: incoming.form,
      method: incoming.method,
      host: target?.host ?? "",
      path: target?.path ?? "",
      client: this.identity.client || null,
      user: this.identity.user,
      route: this.route?.id ?? null,
      provider: this.route?.provider.id ?? null,
      credential: this.choice?.credential.name ?? null,
      version: this.choice?.version ?? null,
      status: transfer.status,
      outcome: this.#outcome,
      reason: this.#reason,
      bytesUp: this.#earlier.bytesUp + transfer.bytesUp,
      bytesDown: this.#earlier.bytesDown + transfer.bytesDown,
      totalMs: endedAt - incoming.arrivedAt,
      upstreamMs: this.#dispatchedAt === null ? null : endedAt - this.#dispatchedAt,
      waitMs: this.waitMs,
      attempts: this.#dispatches,
      scrubbed: this.scrubbed + (this.attempts?.last?.answer?.scrubbed ?? 0),
      ...this.spent,
    };
  }

  /**
   * After an unread body or a request that could be read in two ways the connection cannot carry another one. Nor can
   * a tunnel whose client is unknown: clients that wait to be asked for their token show it only on another CONNECT.
   */
  #mayGoOn(error: ProxyError): boolean {
    if (error.code === "bad_request") return false;
    if (error.code === "client_unknown" && this.incoming.form === "connect") return false;
    return this.parsed !== null && this.parsed.body === null;
  }
}

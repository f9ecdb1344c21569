import type { Duplex } from "node:stream";
import type { Route } from "../../policy/compile.ts";
import { randomBytes } from "../../store/crypto.ts";
import type { Answer } from "./answer.ts";
import type { Choice } from "./choose.ts";
import { asServer, type ProxyError, problemFields, problemJson } from "./errors.ts";
import type { Identity, Incoming, Outcome, ParsedRequest } from "./exchange.ts";
import type { Transfer } from "./forward.ts";
import type { Injection } from "./inject.ts";
import type { LimiterHold } from "./limiter.ts";

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
  readonly transfer: Transfer = { status: 0, bytesUp: 0, bytesDown: 0, sent: false };
  identity: Identity = NOBODY;
  route: Route | null = null;
  choice: Choice | null = null;
  hold: LimiterHold | null = null;
  injection: Injection | null = null;
  answer: Answer | null = null;
  /** Secrets taken out of what is no HTTP answer. */
  scrubbed = 0;
  /** Among its client's exchanges in flight. */
  counted = false;
  /** Milliseconds spent queueing for limits. */
  waitMs = 0;
  #dispatchedAt: number | null = null;
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

  dispatched(): void {
    this.#dispatchedAt = performance.now();
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
    down.sendHead(error.status, "", problemFields(error, body.length), this.#mayGoOn(error));
    if (this.incoming.method !== "HEAD") down.write(body);
    down.end([]);
  }

  /** Settles what the exchange holds. A request that never left sidekey does not count against a limit. */
  release(): void {
    this.injection?.release();
    if (!this.transfer.sent) this.hold?.refund();
    else this.hold?.release(null);
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
      meaning: null,
      bytesUp: transfer.bytesUp,
      bytesDown: transfer.bytesDown,
      totalMs: endedAt - incoming.arrivedAt,
      upstreamMs: this.#dispatchedAt === null ? null : endedAt - this.#dispatchedAt,
      waitMs: this.waitMs,
      attempts: this.#dispatchedAt === null ? 0 : 1,
      operation: null,
      usage: null,
      costNano: null,
      unpriced: false,
      priceTable: null,
      limits: null,
      scrubbed: 0,
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

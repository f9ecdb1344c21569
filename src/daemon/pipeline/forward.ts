import type { Duplex } from "node:stream";
import { type Dispatcher, errors as undiciErrors } from "undici";
import { Answer, type AnswerRules } from "./answer.ts";
import { ProxyError } from "./errors.ts";
import type { Downstream, ParsedRequest } from "./exchange.ts";
import type { Upstream } from "./upstream-pools.ts";

/**
 * Sends one request and receives its answer, both ways with backpressure. Redirects and provider errors pass unchanged.
 * An answer that breaks off upstream breaks off downstream too; one that is refused before any of it has gone to the
 * client is dropped, so that the request can be tried again.
 */

export interface ForwardRequest {
  readonly method: string;
  /** Path and query, with markers where secrets belong. */
  readonly path: string;
  /** Flat `[name, value, ...]`, with markers. */
  readonly fields: string[];
  readonly body: ParsedRequest["body"] | Buffer;
  readonly headersTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly keepAlive: boolean;
  /** "websocket" for an upgrade. */
  readonly upgrade: string | null;
  readonly answer: AnswerRules;
  /** True once every marker of this request has been replaced on the wire. */
  readonly spliced: () => boolean;
}

/** What happened on the wire, for the outcome. */
export interface Transfer {
  status: number;
  bytesUp: number;
  bytesDown: number;
  /** True once there was a connection to write the request to; a request that found none costs no limit. */
  sent: boolean;
}

/** An accepted upgrade: the upstream's socket and the fields of its 101. */
export interface Upgraded {
  readonly socket: Duplex;
  readonly fields: Buffer[];
}

const MAX_INFORMATIONAL = 8;

/** What is still taken of an answer that nobody wants, in bytes, so that its connection can be used again. */
const MAX_DROPPED = 64 * 1024;
/** How long it is waited for, in ms: a provider that goes on slowly would keep the connection. */
const MAX_DROPPING_MS = 1_000;

/** How an attempt ended, when it did not fail. */
export type Forwarded =
  | { readonly kind: "answered" | "refused"; readonly answer: Answer }
  | ({ readonly kind: "upgraded" } & Upgraded);

type Settle = (error: ProxyError | null, forwarded: Forwarded | null) => void;

class ForwardHandler implements Dispatcher.DispatchHandler {
  readonly #request: ForwardRequest;
  readonly #transfer: Transfer;
  readonly #settle: Settle;
  readonly #answer: Answer;
  #informational = 0;
  #dropped = 0;
  #dropping: NodeJS.Timeout | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  #gone: ProxyError | null = null;

  constructor(request: ForwardRequest, down: Downstream, transfer: Transfer, settle: Settle) {
    this.#request = request;
    this.#transfer = transfer;
    this.#settle = settle;
    this.#answer = new Answer(request.answer, down, {
      pause: () => this.#controller?.pause(),
      resume: () => this.#controller?.resume(),
      fail: (error) => this.#fail(error),
      refused: () => this.#refused(),
    });
  }

  get answer(): Answer {
    return this.#answer;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // It had no connection yet when the client went.
    if (this.#gone) controller.abort(this.#gone);
    else this.#transfer.sent = true;
  }

  /** The client has gone: the upstream must not go on working for nobody. */
  clientGone(): void {
    const gone = new ProxyError("client_closed", "the client closed the connection");
    this.#gone = gone;
    this.#fail(gone);
  }

  onBodySent(chunk: Uint8Array): void {
    this.#transfer.bytesUp += chunk.length;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _parsed: unknown, reason?: string): void {
    const raw = controller.rawHeaders as unknown as Buffer[];
    if (status < 200) {
      this.#informationalHead(controller, status, raw);
      return;
    }
    if (!this.#request.spliced()) throw new ProxyError("internal", "the request left without its credential");
    this.#transfer.status = status;
    this.#answer.start(status, reason ?? "", raw);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#transfer.bytesDown += chunk.length;
    this.#answer.data(chunk);
    if (!this.#answer.refused) return;
    this.#dropped += chunk.length;
    if (this.#dropped > MAX_DROPPED) controller.abort(notWanted());
  }

  onResponseEnd(controller: Dispatcher.DispatchController, _trailers: unknown): void {
    this.#answer.end(controller.rawTrailers as unknown as Buffer[] | null, () => {
      this.#settle(null, { kind: "answered", answer: this.#answer });
    });
    this.#stopDropping();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#answer.close();
    this.#stopDropping();
    this.#settle(upstreamError(error), null);
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _headers: unknown, socket: Duplex): void {
    if (status !== 101) {
      socket.destroy();
      this.#settle(new ProxyError("upstream_protocol", "the provider answered the upgrade wrongly"), null);
      return;
    }
    this.#settle(null, { kind: "upgraded", socket, fields: controller.rawHeaders as unknown as Buffer[] });
  }

  #refused(): void {
    this.#dropping = setTimeout(() => this.#controller?.abort(notWanted()), MAX_DROPPING_MS);
    this.#dropping.unref();
    this.#settle(null, { kind: "refused", answer: this.#answer });
  }

  #stopDropping(): void {
    if (this.#dropping !== null) clearTimeout(this.#dropping);
  }

  #fail(error: ProxyError): void {
    this.#answer.close();
    this.#settle(error, null);
    this.#controller?.abort(error);
  }

  #informationalHead(controller: Dispatcher.DispatchController, status: number, raw: Buffer[]): void {
    this.#informational++;
    if (this.#informational > MAX_INFORMATIONAL) {
      controller.abort(new ProxyError("upstream_protocol", "the provider sent too many interim answers"));
      return;
    }
    this.#answer.informational(status, raw);
  }
}

function notWanted(): ProxyError {
  return new ProxyError("client_closed", "the answer is not wanted");
}

/**
 * Sends the request and relays the answer. Resolves when the answer is complete, when it was refused, or with the
 * upstream's socket when an upgrade was accepted.
 * @param began told of the answer at once, so that what passed is known even when it breaks off
 * @throws ProxyError what went wrong; when the head is already out, the caller aborts the downstream
 */
export function forward(
  dispatcher: Upstream,
  request: ForwardRequest,
  down: Downstream,
  transfer: Transfer,
  began: (answer: Answer) => void,
): Promise<Forwarded> {
  return new Promise((resolve, reject) => {
    let settled = false;
    const handler = new ForwardHandler(request, down, transfer, (error, forwarded) => {
      if (settled) return;
      settled = true;
      if (forwarded === null) reject(error);
      else resolve(forwarded);
    });
    began(handler.answer);
    down.onClose(() => {
      if (!settled) handler.clientGone();
    });
    dispatcher.dispatch(
      {
        origin: "",
        method: request.method as Dispatcher.HttpMethod,
        path: request.path,
        headers: request.fields,
        body: request.body,
        headersTimeout: request.headersTimeoutMs,
        bodyTimeout: request.idleTimeoutMs,
        // Only ever said to close: `false` would also keep connections that the library closes for a reason (HEAD).
        ...(request.keepAlive ? {} : { reset: true }),
        ...(request.upgrade === null ? {} : { upgrade: request.upgrade }),
      },
      handler,
    );
  });
}

/** The client library's error as one of ours; its text is never passed on (threats E3). */
function upstreamError(error: Error): ProxyError {
  if (error instanceof ProxyError) return error;
  if (error instanceof undiciErrors.HeadersTimeoutError) {
    return new ProxyError("upstream_timeout", "the provider did not answer in time", {
      reason: "headers",
      cause: error,
    });
  }
  if (error instanceof undiciErrors.BodyTimeoutError) {
    return new ProxyError("upstream_timeout", "the provider stopped in the middle of its answer", {
      reason: "idle",
      cause: error,
    });
  }
  if (error instanceof undiciErrors.RequestContentLengthMismatchError) {
    return new ProxyError("bad_request", "the request body is not as long as its Content-Length says", {
      cause: error,
    });
  }
  if (error instanceof undiciErrors.RequestAbortedError) {
    return new ProxyError("client_closed", "the request broke off", { cause: error });
  }
  if (error instanceof undiciErrors.SocketError && /^bad (?:response|upgrade)$/.test(error.message)) {
    return new ProxyError("upstream_protocol", "the provider sent an answer that nobody asked for", { cause: error });
  }
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (code === "ECONNRESET" || code === "EPIPE" || error instanceof undiciErrors.SocketError) {
    return new ProxyError("upstream_connect", "the provider closed the connection", { reason: "reset", cause: error });
  }
  return new ProxyError("upstream_protocol", "the provider's answer was not valid HTTP", { cause: error });
}

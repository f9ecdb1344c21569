import type { Duplex } from "node:stream";
import { type Dispatcher, errors as undiciErrors } from "undici";
import { ProxyError } from "./errors.ts";
import type { Downstream, ParsedRequest } from "./exchange.ts";
import { type ResponseRules, responseFields, responseTrailers } from "./headers.ts";
import type { Upstream } from "./upstream-pools.ts";

/**
 * Streams one exchange both ways with backpressure. Redirects and provider errors pass unchanged;
 * nothing is retried. An answer that breaks off upstream breaks off downstream too.
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
  readonly response: ResponseRules;
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

/** Status of a response that carries no content even when it announces some (RFC 9110 section 6.4.1). */
function bodiless(method: string, status: number): boolean {
  return method === "HEAD" || status === 204 || status === 304;
}

/** RFC 9110 section 8.6: a 204 has none; some providers send `Content-Length: 0`, which some clients refuse. */
function withoutLength(fields: readonly string[]): string[] {
  return fields.filter((_, i) => fields[i - (i % 2)]?.toLowerCase() !== "content-length");
}

class ForwardHandler implements Dispatcher.DispatchHandler {
  readonly #request: ForwardRequest;
  readonly #down: Downstream;
  readonly #transfer: Transfer;
  readonly #settle: (error: ProxyError | null, upgraded: Upgraded | null) => void;
  #informational = 0;
  #controller: Dispatcher.DispatchController | null = null;
  #gone: ProxyError | null = null;

  constructor(
    request: ForwardRequest,
    down: Downstream,
    transfer: Transfer,
    settle: (error: ProxyError | null, upgraded: Upgraded | null) => void,
  ) {
    this.#request = request;
    this.#down = down;
    this.#transfer = transfer;
    this.#settle = settle;
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
    this.#settle(gone, null);
    this.#controller?.abort(gone);
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
    const fields = responseFields(raw, this.#request.response, bodiless(this.#request.method, status));
    this.#down.sendHead(status, reason ?? "", status === 204 ? withoutLength(fields) : fields, true);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#transfer.bytesDown += chunk.length;
    if (this.#down.write(chunk)) return;
    controller.pause();
    this.#down.onDrain(() => controller.resume());
  }

  onResponseEnd(controller: Dispatcher.DispatchController, _trailers: unknown): void {
    this.#down.end(responseTrailers(controller.rawTrailers as unknown as Buffer[] | null));
    this.#settle(null, null);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle(upstreamError(error), null);
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _headers: unknown, socket: Duplex): void {
    if (status !== 101) {
      socket.destroy();
      this.#settle(new ProxyError("upstream_protocol", "the provider answered the upgrade wrongly"), null);
      return;
    }
    this.#settle(null, { socket, fields: controller.rawHeaders as unknown as Buffer[] });
  }

  #informationalHead(controller: Dispatcher.DispatchController, status: number, raw: Buffer[]): void {
    this.#informational++;
    if (this.#informational > MAX_INFORMATIONAL) {
      controller.abort(new ProxyError("upstream_protocol", "the provider sent too many interim answers"));
      return;
    }
    this.#down.sendInformational(status, responseFields(raw, this.#request.response, true));
  }
}

/**
 * Sends the request and relays the answer; resolves when the answer is complete, or with the upstream
 * socket when an upgrade was accepted.
 * @throws ProxyError what went wrong; when the head is already out, the caller aborts the downstream
 */
export function forward(
  dispatcher: Upstream,
  request: ForwardRequest,
  down: Downstream,
  transfer: Transfer,
): Promise<Upgraded | null> {
  return new Promise((resolve, reject) => {
    let settled = false;
    const handler = new ForwardHandler(request, down, transfer, (error, upgraded) => {
      if (settled) return;
      settled = true;
      if (error) reject(error);
      else resolve(upgraded);
    });
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

import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { authorityKey } from "../../policy/host.ts";
import { copyForHeader } from "../../providers/auth/header.ts";
import { encodePercent } from "../../providers/auth/query.ts";
import { Secret, secretBuffer } from "../../secret.ts";
import type { Config } from "../config.ts";
import { isOwnListener } from "../own-addresses.ts";
import { Dialer } from "../pipeline/dial.ts";
import { type ErrorCode, ProxyError } from "../pipeline/errors.ts";
import { type Slot, type SocketBinding, Splice } from "../pipeline/splice.ts";
import type { Upstream } from "../pipeline/upstream-pools.ts";
import { proxyCredentials } from "../start-steps.ts";
import {
  CallError,
  type CallFailure,
  type CallProvider,
  type ProviderAnswer,
  type ProviderCall,
} from "./provider-call.ts";

/** Largest answer that is read, in bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
const CONNECT_MS = 5_000;
/** Neither is a name that a policy can give to a route or a client, so no traffic shares these sockets. */
const ROUTE = "sidekey:monitor";
const CLIENT = "sidekey:self";
const PLACEHOLDER = /\{([a-z][a-z0-9_]{0,63})\}/g;

/** Fields that a call gets unless it brings its own: some providers refuse requests that name no agent. */
const DEFAULT_FIELDS: readonly (readonly [string, string])[] = [
  ["user-agent", "sidekey"],
  ["accept-encoding", "identity"],
];

/** Sends calls through the daemon's own doors: its dialer vets and verifies, its splice writes the secrets. */
export function createCallProvider(dialer: Dialer, splice: Splice): CallProvider {
  return async (call) => {
    const binding = { authority: authorityKey(call.host, call.port), route: ROUTE, client: CLIENT };
    const places = new Places(splice, binding, call.secrets);
    try {
      const path = places.fill(call.path, encodePercent);
      const headers = fieldsOf(call).flatMap(([name, value]) => [name, places.fill(value, rawFor(name))]);
      const pool = dialer.pool({
        host: call.host,
        port: call.port,
        route: ROUTE,
        client: CLIENT,
        tls: true,
        private: call.private ?? [],
        connectTimeoutMs: CONNECT_MS,
        keepAlive: false,
      });
      return await exchange(pool, call, { path, headers, spliced: () => places.allWritten });
    } finally {
      places.release();
    }
  };
}

/** A dialer and splice of its own, for a command that runs beside the daemon or without one. */
export function openCalls(
  config: Pick<Config, "upstream" | "listen">,
  resolve?: (host: string) => Promise<readonly string[]>,
): { readonly call: CallProvider; close(): Promise<void> } {
  const { hosts, proxy } = config.upstream;
  const listeners = [config.listen.proxy, config.listen.admin, config.listen.metrics].filter((each) => each !== null);
  const splice = new Splice();
  const credentials = proxy && proxyCredentials(proxy);
  const dialer = new Dialer({
    overrides: hosts,
    proxy: proxy && { host: proxy.host, port: proxy.port, credentials },
    isOwnListener: (address, port) => isOwnListener(listeners, address, port),
    splice,
    socketsPerPool: 1,
    ...(resolve ? { resolve } : {}),
  });
  return {
    call: createCallProvider(dialer, splice),
    close: async () => {
      await dialer.close();
      credentials?.wipe();
    },
  };
}

/** The markers of one call, and the rendered secrets that take their places. */
class Places {
  readonly #splice: Splice;
  readonly #binding: SocketBinding;
  readonly #secrets: ReadonlyMap<string, Secret>;
  readonly #filled: { readonly slot: Slot; readonly rendered: Secret }[] = [];

  constructor(splice: Splice, binding: SocketBinding, secrets: ReadonlyMap<string, Secret>) {
    this.#splice = splice;
    this.#binding = binding;
    this.#secrets = secrets;
  }

  /** Replaces each `{name}` that names a secret by a marker. Other braces are the caller's text. */
  fill(text: string, render: (bytes: Buffer) => Buffer): string {
    return text.replace(PLACEHOLDER, (whole: string, name: string) => {
      const secret = this.#secrets.get(name);
      if (!secret) return whole;
      const rendered = Secret.adopt(secret.use(render));
      const slot = this.#splice.open(rendered, this.#binding, new Set([this.#binding.authority]));
      this.#filled.push({ slot, rendered });
      return slot.marker;
    });
  }

  get allWritten(): boolean {
    return this.#filled.every(({ slot }) => slot.used);
  }

  release(): void {
    for (const { slot, rendered } of this.#filled.splice(0)) {
      slot.release();
      rendered.wipe();
    }
  }
}

function rawFor(name: string): (bytes: Buffer) => Buffer {
  return (bytes) => copyForHeader(bytes, name);
}

function fieldsOf(call: ProviderCall): (readonly [string, string])[] {
  const named = new Set(call.fields.map(([name]) => name.toLowerCase()));
  const fields = [...DEFAULT_FIELDS.filter(([name]) => !named.has(name)), ...call.fields];
  if (call.body !== null) fields.push(["content-length", String(call.body.length)]);
  return fields;
}

interface Head {
  readonly path: string;
  readonly headers: string[];
  readonly spliced: () => boolean;
}

function exchange(pool: Upstream, call: ProviderCall, head: Head): Promise<ProviderAnswer> {
  return new Promise((resolve, reject) => {
    const answer = new AnswerHandler(call, head, (error, value) => {
      clearTimeout(timer);
      if (value) resolve(value);
      else reject(error);
    });
    const timer = setTimeout(
      () => answer.giveUp(new CallError("timeout", `${call.host} did not answer within ${call.timeoutMs} ms`)),
      call.timeoutMs,
    );
    pool.dispatch(
      {
        origin: "",
        method: call.method as Dispatcher.HttpMethod,
        path: head.path,
        headers: head.headers,
        body: call.body === null ? null : inTwoWrites(call.body),
        headersTimeout: call.timeoutMs,
        bodyTimeout: call.timeoutMs,
        reset: true,
      },
      answer,
    );
  });
}

/**
 * The library corks the socket over a head and the first write of its body, and TLS would join the two in memory that
 * nobody wipes. Only the body's first byte goes with the head; the rest is a write of its own.
 */
function inTwoWrites(body: Buffer): Readable {
  return Readable.from([body.subarray(0, 1), body.subarray(1)].filter((part) => part.length > 0));
}

type Settle = (error: CallError | null, answer: ProviderAnswer | null) => void;

/** Collects one answer. Redirects are answers like any other: nothing is followed. */
class AnswerHandler implements Dispatcher.DispatchHandler {
  readonly #host: string;
  readonly #head: Head;
  readonly #settle: Settle;
  #controller: Dispatcher.DispatchController | null = null;
  #settled = false;
  #status = 0;
  #headers: ReadonlyMap<string, string> = new Map();
  #parts: Buffer[] = [];
  #length = 0;

  constructor(call: ProviderCall, head: Head, settle: Settle) {
    this.#host = call.host;
    this.#head = head;
    this.#settle = settle;
  }

  giveUp(error: CallError): void {
    this.#end(error, null);
    this.#controller?.abort(error);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(new Error("nobody waits for it any more"));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    if (!this.#head.spliced()) {
      this.giveUp(new CallError("protocol", `the request to ${this.#host} left without its credential`));
      return;
    }
    this.#status = status;
    this.#headers = new Map(
      Object.entries(headers).flatMap(([name, value]): [string, string][] =>
        value === undefined ? [] : [[name.toLowerCase(), typeof value === "string" ? value : value.join(", ")]],
      ),
    );
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > MAX_ANSWER_BYTES) {
      chunk.fill(0);
      this.giveUp(
        new CallError("too_large", `the answer of ${this.#host} is larger than ${MAX_ANSWER_BYTES / 1024} KiB`),
      );
      return;
    }
    const own = secretBuffer(chunk.length);
    chunk.copy(own);
    // An answer may hold a new key, so nothing of it stays behind in the library's buffers.
    chunk.fill(0);
    this.#parts.push(own);
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    const body = secretBuffer(this.#length);
    let at = 0;
    for (const part of this.#parts) at += part.copy(body, at);
    this.#end(null, { status: this.#status, headers: this.#headers, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#end(asCallError(error, this.#host), null);
  }

  #end(error: CallError | null, answer: ProviderAnswer | null): void {
    for (const part of this.#parts.splice(0)) part.fill(0);
    if (this.#settled) return;
    this.#settled = true;
    this.#settle(error, answer);
  }
}

const FAILURES: Partial<Record<ErrorCode, CallFailure>> = {
  upstream_dns: "dns",
  upstream_connect: "connect",
  upstream_tls: "tls",
  upstream_timeout: "timeout",
  upstream_refused_address: "refused_address",
};

/** The library's own texts are never passed on: they may hold a URL. */
function asCallError(error: Error, host: string): CallError {
  if (error instanceof CallError) return error;
  if (error instanceof ProxyError) return new CallError(FAILURES[error.code] ?? "protocol", error.publicMessage, error);
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (code === "ECONNRESET" || code === "EPIPE" || code === "UND_ERR_SOCKET") {
    return new CallError("connect", `${host} closed the connection before it had answered`, error);
  }
  if (code.endsWith("_TIMEOUT")) return new CallError("timeout", `${host} did not answer in time`, error);
  return new CallError("protocol", `the answer of ${host} was not valid HTTP`, error);
}

import type { Duplex, Readable } from "node:stream";
import type { PolicySnapshot } from "../../policy/compile.ts";
import type { TrafficMeaning } from "../../providers/classify-traffic.ts";
import type { UsageFigure } from "../../providers/usage/usage.ts";

/** How the client addressed sidekey; the same pipeline serves all of them. */
export type RequestForm = "absolute" | "connect" | "origin" | "tunnel";

/** Where a request wants to go, after every ambiguity has been refused. */
export interface RequestTarget {
  readonly form: RequestForm;
  /** Canonical host name (lower case, no trailing dot). */
  readonly host: string;
  readonly port: number;
  /** Begins with `/`; byte-exact as the client sent it, without the query. */
  readonly path: string;
  /** Raw query without `?`; empty when there is none. */
  readonly query: string;
}

/** Flat list of header fields, `[name, value, name, value, ...]`, names in the case that was sent. */
export type Fields = readonly string[];

/** The way back to the client. One implementation per protocol: HTTP/1.1, HTTP/2, upgraded socket. */
export interface Downstream {
  readonly headSent: boolean;
  /** 1xx other than 100 and 101. */
  sendInformational(status: number, fields: Fields): void;
  /** 100 Continue, when the client waits for it. */
  sendContinue(): void;
  /** @param reuse false when the connection must not carry another request */
  sendHead(status: number, reason: string, fields: Fields, reuse: boolean): void;
  /** Returns false when the client is slower than we are; `onDrain` tells when to go on. */
  write(chunk: Buffer): boolean;
  onDrain(resume: () => void): void;
  end(trailers: Fields): void;
  /** Ends without ever looking complete (RFC 9112 section 8): the client must notice the cut. */
  abort(): void;
  /** Called once when the client goes away before `end`. */
  onClose(gone: () => void): void;
  /** Answers 101 and hands over the raw byte stream; only for an upgrade. */
  switchProtocols(fields: Fields): Duplex;
}

/** What a valid request head says; ambiguous ones never get this far. */
export interface ParsedRequest {
  readonly target: RequestTarget;
  readonly body: Readable | null;
  /** Bytes, null when the length is not known in advance. */
  readonly bodyLength: number | null;
  readonly expectContinue: boolean;
  /** `Sec-WebSocket-Key` of a valid WebSocket handshake, else null. */
  readonly websocketKey: string | null;
}

/** One request as ingress hands it to the pipeline: not yet believed. */
export interface Incoming {
  readonly form: RequestForm;
  readonly method: string;
  readonly fields: Fields;
  /**
   * First stage of the pipeline. Takes the policy because a base URL names a route of it, and the whole
   * exchange must see one snapshot (guarantee G10).
   * @throws ProxyError for everything that can be read in two ways
   */
  readonly parse: (policy: PolicySnapshot) => ParsedRequest;
  /** Bytes that came behind an upgrade's head; given to the upstream only after its 101. */
  readonly upgradeHead: Buffer | null;
  readonly remoteAddress: string;
  /** What the CONNECT showed in Proxy-Authorization, for requests inside it. */
  readonly connectAuthorization: string | null;
  readonly downstream: Downstream;
  /** `performance.now()` at arrival, milliseconds. */
  readonly arrivedAt: number;
}

/** Who asks: a client of the policy, and the user it acts for. */
export interface Identity {
  readonly client: string;
  readonly user: string | null;
}

/** How an exchange ended. Exactly one per exchange (guarantee G12). */
export interface Outcome {
  readonly id: string;
  readonly atMs: number;
  readonly form: RequestForm;
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly client: string | null;
  readonly user: string | null;
  readonly route: string | null;
  readonly provider: string | null;
  readonly credential: string | null;
  readonly version: number | null;
  /** Status sent to the client; 0 when the client went before one was sent. */
  readonly status: number;
  /** `ok` (a complete provider answer), an error code, or `truncated` / `client_closed`. */
  readonly outcome: string;
  readonly reason: string | null;
  /** What the last answer says by the catalog's rules; null when there was none or nobody has looked. */
  readonly meaning: TrafficMeaning | null;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly totalMs: number;
  readonly upstreamMs: number | null;
  readonly waitMs: number;
  readonly attempts: number;
  /** What was called, as the provider's dialect names it. */
  readonly operation: string | null;
  /** What was used; null when no answer was read for it. */
  readonly usage: UsageFigure | null;
  /** Nano-dollars, as far as prices are known; null when none is. */
  readonly costNano: number | null;
  /** Something was used that has no price. */
  readonly unpriced: boolean;
  /** Which price table `costNano` is from. */
  readonly priceTable: string | null;
  /** The provider's own limits as its answer told them: short JSON text. */
  readonly limits: string | null;
  /** Secrets that were taken out of the answer. */
  readonly scrubbed: number;
}

import type { Cidr } from "../../policy/address.ts";
import type { Secret } from "../../secret.ts";

/**
 * One HTTPS request to a provider that is not a client's: a probe, or a step of a rotation. Secrets are spliced in
 * at the socket as in traffic; redirects are never followed.
 */
export interface ProviderCall {
  /** Canonical host name and port; TLS is verified for it. */
  readonly host: string;
  readonly port: number;
  readonly method: string;
  /** Path with query; `{name}` stands for a secret, percent-encoded when it is written. */
  readonly path: string;
  /** Header fields; `{name}` in a value stands for a secret. Host and framing are added. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The caller wipes it when it holds a secret. */
  readonly body: Buffer | null;
  /** By the names used in `path` and `fields`. The caller wipes them. */
  readonly secrets: ReadonlyMap<string, Secret>;
  readonly timeoutMs: number;
  /** Non-public ranges that may be dialled; none unless given. */
  readonly private?: readonly Cidr[];
}

export interface ProviderAnswer {
  readonly status: number;
  /** Lower-case names; repeated fields joined by ", ". */
  readonly headers: ReadonlyMap<string, string>;
  /** At most 256 KiB. The caller wipes it when it may hold a secret. */
  readonly body: Buffer;
}

export type CallFailure = "dns" | "connect" | "tls" | "timeout" | "refused_address" | "protocol" | "too_large";

/** No answer came. The message names the host and the kind of failure, never a secret or a URL's query. */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly failure: CallFailure;

  constructor(failure: CallFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.failure = failure;
  }
}

/** @throws CallError */
export type CallProvider = (call: ProviderCall) => Promise<ProviderAnswer>;

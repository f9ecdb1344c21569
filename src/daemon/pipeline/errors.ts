/**
 * The closed set of answers that sidekey gives in its own name, with their HTTP status. Each has an
 * entry in docs/errors.md. Provider answers pass through and never use these codes.
 */
export const ERROR_STATUS = {
  bad_request: 400,
  no_route: 403,
  not_allowed: 403,
  upstream_refused_address: 403,
  method_not_allowed: 405,
  client_unknown: 407,
  body_too_large: 413,
  expectation_failed: 417,
  authority_mismatch: 421,
  budget_exceeded: 429,
  limit_exceeded: 429,
  headers_too_large: 431,
  client_closed: 499,
  internal: 500,
  upstream_connect: 502,
  upstream_dns: 502,
  upstream_protocol: 502,
  upstream_tls: 502,
  no_usable_credential: 503,
  overloaded: 503,
  upstream_unavailable: 503,
  vault_sealed: 503,
  upstream_timeout: 504,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

export interface ProxyErrorOptions {
  /** Finer reason inside the code, from a closed set (`path_not_on_route`); safe for metrics labels. */
  readonly reason?: string | null;
  readonly route?: string | null;
  /** Only where the code's own status would mislead (see `asServer`). */
  readonly status?: number;
  /** Extra response fields, flat `[name, value, ...]` (`Retry-After`, `Proxy-Authenticate`). */
  readonly fields?: readonly string[];
  readonly cause?: unknown;
}

/**
 * An exchange that sidekey itself ends. `publicMessage` goes to the client and is written here, never
 * taken from a library's error (those may hold URLs or addresses, threats E3).
 */
export class ProxyError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly reason: string | null;
  readonly publicMessage: string;
  readonly route: string | null;
  readonly fields: readonly string[];

  constructor(code: ErrorCode, publicMessage: string, options: ProxyErrorOptions = {}) {
    super(`${code}: ${publicMessage}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ProxyError";
    this.code = code;
    this.status = options.status ?? ERROR_STATUS[code];
    this.reason = options.reason ?? null;
    this.publicMessage = publicMessage;
    this.route = options.route ?? null;
    this.fields = options.fields ?? [];
  }
}

/** Anything thrown inside an exchange becomes a ProxyError; what we did not foresee is `internal`, without detail. */
export function toProxyError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error;
  return new ProxyError("internal", "sidekey could not handle this request; see its log for the request id", {
    cause: error,
  });
}

/** What every request gets while the vault, or the category of its credential, is sealed. */
export function vaultSealed(category: string | null = null, route: string | null = null): ProxyError {
  const [what, how] =
    category === null
      ? ["the vault is sealed", "sidekey vault unseal"]
      : [`category ${category} is sealed`, `sidekey vault unseal --category ${category}`];
  return new ProxyError("vault_sealed", `${what}; an operator opens it with \`${how}\``, {
    reason: category === null ? null : "category_sealed",
    route,
    fields: ["Retry-After", SEALED_RETRY_S],
  });
}

/** Seconds after which a client may look again whether somebody has unsealed the vault. */
const SEALED_RETRY_S = "30";

/** For what comes while sidekey stops: another one, or the next start, is there in a moment. */
export function draining(): ProxyError {
  return new ProxyError("overloaded", "sidekey is shutting down", { reason: "draining", fields: ["Retry-After", "1"] });
}

/**
 * The same refusal as a server gives it, for base URLs: there sidekey is no proxy to its client, and fetch turns every
 * 407 into a network error that hides what is wrong (Fetch standard, HTTP-network-or-cache fetch).
 */
export function asServer(error: ProxyError): ProxyError {
  if (error.code !== "client_unknown") return error;
  return new ProxyError(error.code, error.publicMessage, {
    status: 401,
    reason: error.reason,
    route: error.route,
    fields: ["WWW-Authenticate", 'Bearer realm="sidekey"'],
  });
}

/**
 * The body of sidekey's own answers, RFC 9457. `path` and query of the request never appear in it.
 * @param requestId the exchange id that the log line carries too
 */
export function problemJson(error: ProxyError, requestId: string): Buffer {
  return Buffer.from(
    `${JSON.stringify({
      type: `urn:sidekey:error:${error.code}`,
      title: error.code,
      status: error.status,
      code: error.code,
      reason: error.reason ?? undefined,
      detail: error.publicMessage,
      route: error.route ?? undefined,
      request_id: requestId,
      docs: `docs/errors.md#${error.code}`,
    })}\n`,
  );
}

/** Response fields of sidekey's own answers, flat `[name, value, ...]`; `length` is the body's size in bytes. */
export function problemFields(error: ProxyError, length: number): string[] {
  return [
    "Content-Type",
    "application/problem+json",
    "Content-Length",
    String(length),
    "Cache-Control",
    "no-store",
    "Sidekey-Error",
    error.code,
    ...error.fields,
  ];
}

import { JsonBytes, JsonBytesError } from "../../providers/json-bytes.ts";
import type { Secret } from "../../secret.ts";
import type { ProviderAnswer } from "./provider-call.ts";

/** What a token is good for when the provider does not say, or says nonsense, in ms. */
const UNKNOWN_LIFE_MS = 5 * 60_000;
/** No token is used longer than this, whatever the provider says, in ms. */
const LONGEST_LIFE_MS = 24 * 3_600_000;
/** RFC 6749 section 5.2: only another credential, or a person at the provider, can help. */
const REFUSALS = ["invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope"] as const;

export type TokenRefusal = (typeof REFUSALS)[number];

export type TokenAnswer =
  | {
      readonly kind: "token";
      /** The caller wipes both. */
      readonly access: Secret;
      readonly refresh: Secret | null;
      readonly lifeMs: number;
    }
  | { readonly kind: "refused"; readonly reason: TokenRefusal }
  /** Not usable now; `problem` never quotes the answer. */
  | { readonly kind: "failed"; readonly problem: string };

/** Reads a token endpoint's answer (RFC 6749 sections 5.1 and 5.2) and wipes it. */
export function readTokenAnswer({ status, body }: ProviderAnswer): TokenAnswer {
  try {
    const json = JsonBytes.parse(body);
    if (status === 200) return readToken(json);
    const code = json.text("error");
    const reason = REFUSALS.find((each) => each === code);
    if ((status === 400 || status === 401) && reason !== undefined) return { kind: "refused", reason };
    return { kind: "failed", problem: `the token endpoint answered ${status}` };
  } catch (error) {
    if (!(error instanceof JsonBytesError)) throw error;
    return { kind: "failed", problem: `the token endpoint answered ${status} without JSON` };
  } finally {
    body.fill(0);
  }
}

function readToken(json: JsonBytes): TokenAnswer {
  const failed = (problem: string): TokenAnswer => ({ kind: "failed", problem: `the token endpoint ${problem}` });
  const type = json.text("token_type");
  if (type !== null && type.toLowerCase() !== "bearer") return failed("gave a token that is not a bearer token");
  const lifeMs = lifeOf(json);
  if (lifeMs === null) return failed("gave a token that has expired already");
  const access = json.secret("access_token");
  if (access === null) return failed("gave no access token");
  if (!isToken(access)) {
    access.wipe();
    return failed("gave an access token that no header can carry");
  }
  return { kind: "token", access, refresh: json.secret("refresh_token"), lifeMs };
}

/** `expires_in` in seconds; null when the token is of no use. */
function lifeOf(json: JsonBytes): number | null {
  const seconds = json.number("expires_in");
  if (seconds === null) return UNKNOWN_LIFE_MS;
  if (seconds <= 0) return null;
  return Math.min(LONGEST_LIFE_MS, Math.floor(seconds * 1000));
}

/** RFC 6750 section 2.1: visible ASCII, no blanks. */
function isToken(secret: Secret): boolean {
  return secret.use((bytes) => bytes.length <= 16_384 && bytes.every((byte) => byte > 0x20 && byte < 0x7f));
}

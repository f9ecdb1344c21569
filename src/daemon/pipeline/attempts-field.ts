import type { TrafficMeaning } from "../../providers/classify-traffic.ts";

/** Name of the response field that tells a client which tries its request has taken. */
export const ATTEMPTS_FIELD = "Sidekey-Attempts";

/** One try of an exchange, as the client is told of it. */
export interface AttemptNote {
  /** Null for a route without a credential. */
  readonly credential: string | null;
  readonly version: number;
  /** Null when there was no answer. */
  readonly status: number | null;
  /** `connect`: no answer. */
  readonly meaning: TrafficMeaning | "connect";
}

/** Tries that are told, the newest ones: the policy allows fewer. */
const MOST = 8;

/**
 * The field's value: a list of Structured Fields items (RFC 9651 section 3.1), one per try in their order. `v` is the
 * version, `s` the status, `m` what was made of it when it was not plainly good.
 * `openai-main;v=3;s=429;m=limited, openai-spare;v=1;s=200`
 */
export function attemptsField(attempts: readonly AttemptNote[]): string {
  return attempts.slice(-MOST).map(item).join(", ");
}

function item({ credential, version, status, meaning }: AttemptNote): string {
  const name = credential === null ? "none" : `${bareItem(credential)};v=${version}`;
  return `${name}${status === null ? "" : `;s=${status}`}${meaning === "ok" ? "" : `;m=${meaning}`}`;
}

/** A token where the name is one (section 3.3.4), else a string: names may begin with a digit. */
function bareItem(name: string): string {
  if (/^[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*$/.test(name)) return name;
  return `"${name.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&")}"`;
}

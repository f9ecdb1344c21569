/**
 * Content codings (RFC 9110 section 8.4): which one an answer has, and which ones may be asked for. Sidekey reads what
 * passes, so a coding that it cannot read is never asked for.
 */

/** The codings that can be read: RFC 1952, RFC 1950 and 1951, RFC 7932, RFC 8878. */
export const READABLE_CODINGS = ["gzip", "deflate", "br", "zstd"] as const;
export type Coding = (typeof READABLE_CODINGS)[number];

/**
 * The coding of an answer.
 * @param values every Content-Encoding field, in order
 * @returns `identity` when there is none; null when it cannot be read: an unknown one, or one inside another
 */
export function codingOf(values: readonly string[]): Coding | "identity" | null {
  const named = values
    .flatMap((value) => value.split(","))
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "" && name !== "identity");
  const [only] = named;
  if (only === undefined) return "identity";
  if (named.length > 1) return null;
  // RFC 9110 section 8.4.1.3: the old name is the same coding.
  const name = only === "x-gzip" ? "gzip" : only;
  return READABLE_CODINGS.find((coding) => coding === name) ?? null;
}

/** What a client can take, from its Accept-Encoding (RFC 9110 section 12.5.3). */
export interface Acceptance {
  /** To be asked for upstream; null when the client names nothing, so nothing is asked for either. */
  readonly ask: string | null;
  /** What to encode an answer with before the client gets it; null when it takes it as it is. */
  readonly mustEncode: Coding | null;
}

const NOTHING_ASKED: Acceptance = { ask: null, mustEncode: null };

/** @param value the client's field, null when it sent none */
export function acceptanceOf(value: string | null): Acceptance {
  if (value === null || value.trim() === "") return NOTHING_ASKED;
  const weights = weightsOf(value);
  const weight = (name: string): number => weights.get(name) ?? weights.get("*") ?? 0;
  const accepted = READABLE_CODINGS.filter((coding) => weight(coding) > 0).sort((a, b) => weight(b) - weight(a));
  const identity = weights.get("identity") ?? (weights.get("*") === 0 ? 0 : 1);
  return {
    ask: accepted.length === 0 ? "identity" : accepted.join(", "),
    mustEncode: identity > 0 ? null : (accepted[0] ?? null),
  };
}

/** A name that is there twice counts as its first. */
function weightsOf(value: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const item of value.split(",")) {
    const [name = "", ...parameters] = item.split(";").map((part) => part.trim().toLowerCase());
    const known = name === "x-gzip" ? "gzip" : name;
    if (known !== "" && !weights.has(known)) weights.set(known, qualityOf(parameters));
  }
  return weights;
}

function qualityOf(parameters: readonly string[]): number {
  const quality = parameters.find((parameter) => parameter.startsWith("q="));
  if (quality === undefined) return 1;
  const number = Number(quality.slice(2));
  return number >= 0 && number <= 1 ? number : 0;
}

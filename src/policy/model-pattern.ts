/** Longest name of a model that is looked up, in characters; a longer one has no price. */
export const MAX_MODEL_LENGTH = 200;

/** Shape of a name or pattern, for editors. Printable ASCII; `*` is the only wildcard. */
export const MODEL_PATTERN = /^[!-~]{1,200}$/;

/** A model's exact name, or a pattern in which `*` stands for any characters, none included. */
export interface ModelPattern {
  readonly source: string;
  /** Whether it has no wildcard. */
  readonly exact: boolean;
  /** Characters that are no wildcard: of the patterns that match a name, the one with the most is meant. */
  readonly literals: number;
  /** Case-sensitive. */
  matches(model: string): boolean;
}

/** @throws Error that says what to write; the caller adds the place. */
export function compileModelPattern(source: string): ModelPattern {
  const shown = source.slice(0, 80);
  if (!MODEL_PATTERN.test(source)) {
    throw new Error(`"${shown}" is not a model's name; write 1 to ${MAX_MODEL_LENGTH} characters without spaces`);
  }
  if (source.includes("**")) throw new Error(`"${shown}" has ** in it; one * already stands for any characters`);
  const parts = source.split("*");
  const [first = ""] = parts;
  const last = parts.at(-1) ?? "";
  const exact = parts.length === 1;
  return Object.freeze({
    source,
    exact,
    literals: source.length - (parts.length - 1),
    matches: (model: string) => (exact ? model === source : matchParts(model, first, parts.slice(1, -1), last)),
  });
}

/** Each part between two stars is placed as far left as it fits; if any placement works, that one does. */
function matchParts(model: string, first: string, middle: readonly string[], last: string): boolean {
  if (model.length < first.length + last.length || !model.startsWith(first) || !model.endsWith(last)) return false;
  const end = model.length - last.length;
  let at = first.length;
  for (const part of middle) {
    const found = model.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/**
 * Whether some name matches both patterns. Two with wildcards overlap exactly when the beginnings and the ends agree:
 * the parts in the middle can always follow each other.
 */
export function patternsOverlap(a: ModelPattern, b: ModelPattern): boolean {
  if (a.exact) return b.matches(a.source);
  if (b.exact) return a.matches(b.source);
  const begins = [beforeStar(a.source), beforeStar(b.source)] as const;
  const ends = [afterStar(a.source), afterStar(b.source)] as const;
  return (
    (begins[0].startsWith(begins[1]) || begins[1].startsWith(begins[0])) &&
    (ends[0].endsWith(ends[1]) || ends[1].endsWith(ends[0]))
  );
}

function beforeStar(source: string): string {
  return source.slice(0, source.indexOf("*"));
}

function afterStar(source: string): string {
  return source.slice(source.lastIndexOf("*") + 1);
}

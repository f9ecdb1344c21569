/** Longest pattern in characters; matching costs at most path length times this. */
export const MAX_GLOB_LENGTH = 512;

/** A compiled path glob. */
export interface Glob {
  readonly source: string;
  /** Characters before the first `*`; the longer it is, the more specific the pattern. */
  readonly literalPrefixLength: number;
  /** `path` is the raw path as sent, with its leading slash and without the query string. Case-sensitive. */
  matches(path: string): boolean;
}

/**
 * Compiles a path glob. `*` stands for any characters inside one segment (a segment that is only `*` must not be
 * empty); `**` is a whole segment and stands for any number of segments, none included. A final `/**` needs the
 * slash: `/a/**` covers `/a/` and all below it, but not `/a`, so that a rule never grants more than it shows.
 * Matching uses no regular expression and never backtracks past the last star, so it is linear in the path.
 * @throws Error that names the pattern and what to write instead.
 */
export function compileGlob(pattern: string): Glob {
  const segments = checkedSegments(pattern);
  const star = pattern.indexOf("*");
  if (star === -1) return freeze(pattern, pattern.length, (path) => path === pattern);
  // The common shape /prefix/** needs no splitting of the path.
  if (star === pattern.length - 2 && pattern.endsWith("/**")) {
    const prefix = pattern.slice(0, -2);
    return freeze(pattern, star, (path) => path.startsWith(prefix));
  }
  return freeze(
    pattern,
    star,
    (path) => path.charCodeAt(0) === SLASH && matchSegments(segments, path.slice(1).split("/")),
  );
}

const SLASH = 0x2f;
const REFUSED_CHARACTERS = '?#\\{}[]"<>^`|';

function freeze(source: string, literalPrefixLength: number, matches: (path: string) => boolean): Glob {
  return Object.freeze({ source, literalPrefixLength, matches });
}

function checkedSegments(pattern: string): string[] {
  const refuse = (problem: string): never => {
    throw new Error(`path pattern "${pattern.slice(0, 80)}" ${problem}`);
  };
  if (!pattern.startsWith("/")) refuse("must begin with /; for every path write /**");
  if (pattern.length > MAX_GLOB_LENGTH) refuse(`is longer than ${MAX_GLOB_LENGTH} characters`);
  for (const character of pattern) {
    const code = character.charCodeAt(0);
    if (code <= 0x20 || code >= 0x7f) refuse("has a space, control or non-ASCII character; percent-encode it");
    if (REFUSED_CHARACTERS.includes(character)) refuse(`has "${character}"; only * and ** are wildcards`);
  }
  if (/%(?![0-9A-Fa-f]{2})/.test(pattern)) refuse("has a % that is not followed by two hex digits");
  const segments = pattern.slice(1).split("/");
  segments.forEach((segment, index) => {
    if (segment.includes("**") && segment !== "**") refuse("has ** next to other text; ** must be a whole segment");
    if (segment === "**" && segments[index + 1] === "**") refuse("has ** twice in a row; write it once");
    if (segment === "." || segment === "..") refuse("has a . or .. segment; write the path it leads to");
    if (segment === "" && index < segments.length - 1) refuse("has an empty segment; write one / only");
  });
  return segments;
}

/**
 * Each run of segments between two `**` is placed at the first position where it fits. That is enough for
 * globs: if any placement works, the leftmost one does.
 */
function matchSegments(pattern: readonly string[], path: readonly string[]): boolean {
  let at = 0;
  let inPath = 0;
  let resumePattern = -1;
  let resumePath = 0;
  while (inPath < path.length) {
    const wanted = pattern[at];
    if (wanted === "**") {
      if (at === pattern.length - 1) return true;
      resumePattern = ++at;
      resumePath = inPath;
    } else if (wanted !== undefined && matchSegment(wanted, path[inPath] ?? "")) {
      at++;
      inPath++;
    } else if (resumePattern !== -1) {
      at = resumePattern;
      inPath = ++resumePath;
    } else return false;
  }
  // A final ** that was not reached means that its slash is missing from the path.
  return at === pattern.length;
}

/** The same leftmost placement as above, for characters between single stars. */
function matchSegment(pattern: string, segment: string): boolean {
  if (pattern === "*") return segment !== "";
  let at = 0;
  let inSegment = 0;
  let resumePattern = -1;
  let resumeSegment = 0;
  while (inSegment < segment.length) {
    if (pattern[at] === "*") {
      resumePattern = ++at;
      resumeSegment = inSegment;
    } else if (pattern[at] === segment[inSegment]) {
      at++;
      inSegment++;
    } else if (resumePattern !== -1) {
      at = resumePattern;
      inSegment = ++resumeSegment;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}

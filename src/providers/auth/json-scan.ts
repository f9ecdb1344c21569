/** Deepest nesting of a body that is accepted. */
export const MAX_JSON_DEPTH = 128;

type Refuse = (reason: "duplicate_key" | "forbidden_key" | "too_deep" | "not_json", message: string) => never;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/**
 * Refuses JSON text that two parsers could read differently: equal keys in one object (compared after unescaping),
 * `__proto__` as a key, and nesting that would exhaust a call stack. It looks only at strings and brackets and
 * leaves syntax to JSON.parse.
 */
export function assertUnambiguous(text: string, refuse: Refuse): void {
  // One entry per open bracket: the keys seen in an object, null for an array.
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x7b || code === 0x5b) {
      open.push(code === 0x7b ? new Set() : null);
      if (open.length > MAX_JSON_DEPTH) refuse("too_deep", `body nests deeper than ${MAX_JSON_DEPTH} levels`);
    } else if (code === 0x7d || code === 0x5d) {
      open.pop();
    } else if (code === QUOTE) {
      const end = stringEnd(text, at);
      const keys = open[open.length - 1];
      if (keys && isKey(text, end)) noteKey(text.slice(at, end), keys, refuse);
      at = end - 1;
    }
  }
}

/** Index behind the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return Math.min(at + 1, text.length);
}

function isKey(text: string, end: number): boolean {
  let at = end;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return text.charCodeAt(at) === COLON;
}

function noteKey(quoted: string, keys: Set<string>, refuse: Refuse): void {
  const name = unescaped(quoted, refuse);
  if (name === "__proto__") refuse("forbidden_key", "body has __proto__ as a key; remove it");
  if (keys.has(name)) refuse("duplicate_key", "body has the same key twice in one object; send it once");
  keys.add(name);
}

function unescaped(quoted: string, refuse: Refuse): string {
  if (!quoted.includes("\\")) return quoted.slice(1, -1);
  try {
    return String(JSON.parse(quoted));
  } catch {
    return refuse("not_json", "body has a malformed key; send JSON");
  }
}

/**
 * Views of a TypeScript file for rules that read code: `code` has comments and the contents of strings, templates and
 * regular expressions blanked; `withStrings` has only comments blanked. Both keep every offset and line number.
 */
export interface MaskedSource {
  readonly code: string;
  readonly withStrings: string;
}

const REGEX_AFTER_WORD = /(?:^|[^\w$.])(?:return|typeof|case|in|of|do|else|void|delete|throw|new|await|yield)$/;

/** Blanks what is not code. A small lexer, not a parser: it knows where literals and comments begin and end. */
export function maskSource(text: string): MaskedSource {
  const code = text.split("");
  const withStrings = text.split("");
  const templates: number[] = [];
  let depth = 0;
  let at = text.startsWith("#!") ? lineEnd(text, 0) : 0;
  const blank = (from: number, to: number, comment: boolean): void => {
    for (let i = from; i < to; i += 1) {
      if (text[i] === "\n") continue;
      code[i] = " ";
      if (comment) withStrings[i] = " ";
    }
  };
  const template = (from: number): number => {
    const { end, opensCode } = templateEnd(text, from);
    blank(from, end, false);
    if (!opensCode) return end + 1;
    templates.push(depth);
    depth += 1;
    return end + 2;
  };

  while (at < text.length) {
    const char = text[at] ?? "";
    const two = text.slice(at, at + 2);
    if (two === "//" || two === "/*") {
      const end = two === "//" ? lineEnd(text, at) : blockEnd(text, at);
      blank(at, end, true);
      at = end;
    } else if (char === '"' || char === "'") {
      const end = stringEnd(text, at + 1, char);
      blank(at + 1, end, false);
      at = end + 1;
    } else if (char === "`") {
      at = template(at + 1);
    } else if (char === "}" && templates.at(-1) === depth - 1) {
      depth -= 1;
      templates.pop();
      at = template(at + 1);
    } else if (char === "/" && regexMayStart(code, at)) {
      const end = regexEnd(text, at + 1);
      blank(at + 1, end, false);
      at = end + 1;
    } else {
      if (char === "{") depth += 1;
      if (char === "}") depth -= 1;
      at += 1;
    }
  }
  return { code: code.join(""), withStrings: withStrings.join("") };
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

function blockEnd(text: string, from: number): number {
  const end = text.indexOf("*/", from + 2);
  return end < 0 ? text.length : end + 2;
}

function stringEnd(text: string, from: number, quote: string): number {
  let at = from;
  while (at < text.length && text[at] !== quote && text[at] !== "\n") at += text[at] === "\\" ? 2 : 1;
  return at;
}

// Ends at the closing backtick or at the `${` that opens code.
function templateEnd(text: string, from: number): { end: number; opensCode: boolean } {
  let at = from;
  while (at < text.length && text[at] !== "`") {
    if (text.startsWith("${", at)) return { end: at, opensCode: true };
    at += text[at] === "\\" ? 2 : 1;
  }
  return { end: at, opensCode: false };
}

function regexEnd(text: string, from: number): number {
  let at = from;
  let inClass = false;
  while (at < text.length && text[at] !== "\n" && (inClass || text[at] !== "/")) {
    if (text[at] === "[") inClass = true;
    if (text[at] === "]") inClass = false;
    at += text[at] === "\\" ? 2 : 1;
  }
  return at;
}

// A slash divides after a value and starts a regular expression anywhere else.
function regexMayStart(code: readonly string[], at: number): boolean {
  const before = code
    .slice(Math.max(0, at - 80), at)
    .join("")
    .trimEnd();
  const last = before.at(-1) ?? "";
  if (last === "") return true;
  if (/[\w$]/.test(last)) return REGEX_AFTER_WORD.test(before);
  return !")]\"'`".includes(last);
}

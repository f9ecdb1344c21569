import { lineAt } from "./source-file.ts";

/** A function in masked code (see source-mask.ts). Lines are 1-based and count from the parameter list. */
export interface FunctionSpan {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

const NOT_FUNCTIONS = new Set(["if", "for", "while", "switch", "catch", "with", "await"]);
const TYPE_PREFIX = new Set(["keyof", "typeof", "readonly", "unique", "infer", "asserts", "new", "abstract"]);
const TYPE_INFIX = new Set(["is", "extends"]);
const CLOSERS: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** Every function, method and arrow function with a parameter list, nested ones included. */
export function functionSpans(code: string): FunctionSpan[] {
  const pairs = bracketPairs(code);
  const spans: FunctionSpan[] = [];
  for (const [open, close] of pairs) {
    if (code[open] !== "(") continue;
    const name = /([\w$#]+)\s*(?:<[^()]*>)?\s*$/.exec(code.slice(Math.max(0, open - 120), open))?.[1] ?? "";
    if (NOT_FUNCTIONS.has(name)) continue;
    const end = bodyEnd(code, close + 1, pairs);
    if (end === null) continue;
    const line = lineAt(code, open);
    spans.push({ name: name || "(anonymous)", line, lines: lineAt(code, end) - line + 1 });
  }
  return spans;
}

function bracketPairs(code: string): Map<number, number> {
  const pairs = new Map<number, number>();
  const stack: number[] = [];
  for (let at = 0; at < code.length; at += 1) {
    const char = code[at] ?? "";
    if (char in CLOSERS) stack.push(at);
    else if (char === ")" || char === "]" || char === "}") {
      const open = stack.pop();
      if (open !== undefined) pairs.set(open, at);
    }
  }
  return pairs;
}

// `after` is the offset behind the parameter list; null when no function body follows.
function bodyEnd(code: string, after: number, pairs: ReadonlyMap<number, number>): number | null {
  let at = skipSpace(code, after);
  if (code[at] === ":") at = skipSpace(code, typeEnd(code, at + 1, pairs));
  if (code[at] === "{") return pairs.get(at) ?? null;
  if (!code.startsWith("=>", at)) return null;
  const body = skipSpace(code, at + 2);
  if (code[body] === "{") return pairs.get(body) ?? null;
  return expressionEnd(code, body, pairs);
}

// Null for the function type of a return type, `(a: A): (b: B) => C {`: there a block follows an operand, which no
// expression allows.
function expressionEnd(code: string, from: number, pairs: ReadonlyMap<number, number>): number | null {
  let at = from;
  while (at < code.length && !",;)]}".includes(code[at] ?? "")) {
    if (code[at] === "{" && /[\w$>)\]]$/.test(code.slice(from, at).trimEnd())) return null;
    at = (pairs.get(at) ?? at) + 1;
  }
  return at - 1;
}

/** The offset behind the type that starts at `from`, as far as it can be told without a parser. */
function typeEnd(code: string, from: number, pairs: ReadonlyMap<number, number>): number {
  let at = from;
  let wantsOperand = true;
  let afterParens = false;
  for (;;) {
    at = skipSpace(code, at);
    const char = code[at] ?? "";
    const word = /^[\w$]+/.exec(code.slice(at, at + 60))?.[0];
    if (wantsOperand) {
      const next = operandEnd(code, at, pairs);
      if (next === null) return at;
      wantsOperand = char === "|" || char === "&" || (word !== undefined && TYPE_PREFIX.has(word));
      afterParens = char === "(";
      at = next;
    } else if (word !== undefined && TYPE_INFIX.has(word)) {
      at += word.length;
      wantsOperand = true;
    } else if (char === "<") at = angleEnd(code, at);
    else if (char === "[") at = (pairs.get(at) ?? at) + 1;
    else if (char === "." || char === "|" || char === "&") {
      at += 1;
      wantsOperand = true;
    } else if (afterParens && code.startsWith("=>", at)) {
      at += 2;
      wantsOperand = true;
    } else return at;
  }
}

function operandEnd(code: string, at: number, pairs: ReadonlyMap<number, number>): number | null {
  const char = code[at] ?? "";
  if (char in CLOSERS) return (pairs.get(at) ?? at) + 1;
  if (char === "|" || char === "&" || char === "-") return at + 1;
  if (char === '"' || char === "'" || char === "`") return code.indexOf(char, at + 1) + 1;
  const word = /^[\w$]+/.exec(code.slice(at, at + 60))?.[0];
  return word === undefined ? null : at + word.length;
}

function angleEnd(code: string, from: number): number {
  let depth = 0;
  for (let at = from; at < code.length; at += 1) {
    if (code[at] === "<") depth += 1;
    if (code[at] === ">" && code[at - 1] !== "=") depth -= 1;
    if (depth === 0) return at + 1;
  }
  return code.length;
}

function skipSpace(code: string, from: number): number {
  let at = from;
  while (/\s/.test(code[at] ?? "x")) at += 1;
  return at;
}

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLError,
} from "yaml";

/** Largest file that is parsed, in bytes of UTF-8. */
export const MAX_YAML_BYTES = 1024 * 1024;
/** Deepest nesting of maps and lists that is accepted; the root map is depth 1. */
export const MAX_YAML_DEPTH = 20;

const TOO_DEEP = `nested deeper than ${MAX_YAML_DEPTH} levels`;

/** A place in a file, both numbers counted from 1. */
export interface YamlPosition {
  line: number;
  column: number;
}

export type YamlPath = readonly (string | number)[];

/** What is wrong with a YAML file, and where. `problem` is the bare sentence, `message` has `file:line: ` before it. */
export class YamlProblem extends Error {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly problem: string;

  constructor(file: string, position: YamlPosition, problem: string) {
    super(`${file}:${position.line}: ${problem}`);
    this.name = "YamlProblem";
    this.file = file;
    this.line = position.line;
    this.column = position.column;
    this.problem = problem;
  }
}

export interface YamlFile {
  /** Plain objects, arrays, strings, numbers, booleans and nulls; null for an empty file. */
  value: unknown;
  /** Position of the key or list item at `path`; of its nearest existing parent when it is missing. */
  lineOf(path: YamlPath): YamlPosition;
}

/**
 * Parses one YAML 1.2 document (core schema) without the features that let a small file mean something large or
 * surprising: anchors, aliases, merge keys, tags, directives, several documents and duplicate keys are refused.
 * @throws YamlProblem for the first problem found, with file, line and column.
 */
export function parseYamlStrict(text: string, file: string): YamlFile {
  if (Buffer.byteLength(text) > MAX_YAML_BYTES) {
    throw new YamlProblem(file, { line: 1, column: 1 }, `larger than ${MAX_YAML_BYTES} bytes; split it or remove data`);
  }
  const lines = new LineCounter();
  const positionAt = (offset: number): YamlPosition => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  // The library compares each key with every earlier one, which is quadratic; assertPlain does it with a Set.
  const document = parseDocument(text, {
    lineCounter: lines,
    version: "1.2",
    schema: "core",
    merge: false,
    uniqueKeys: false,
    stringKeys: true,
    prettyErrors: false,
    logLevel: "error",
  });
  const first = document.errors[0] ?? document.warnings[0];
  if (first) throw new YamlProblem(file, positionAt(first.pos[0]), sentence(first));
  if (document.directives?.yaml.explicit) {
    throw new YamlProblem(file, positionAt(0), "%YAML directives are not accepted; remove the line");
  }
  assertPlain(document.contents, (offset, problem) => {
    throw new YamlProblem(file, positionAt(offset), problem);
  });
  return { value: document.toJS({ maxAliasCount: 0 }), lineOf: (path) => positionAt(offsetOf(document, path)) };
}

function sentence(error: YAMLError): string {
  // The library stops by itself where the call stack would end, long before assertPlain could count the levels.
  if (error.code === "RESOURCE_EXHAUSTION") return TOO_DEEP;
  return error.message.split("\n", 1)[0] ?? error.message;
}

function startOf(node: unknown): number {
  const range = (node as Node | null)?.range;
  return range ? range[0] : 0;
}

/** Walks with its own stack, because a file within the size limit can nest deeper than the call stack. */
function assertPlain(root: unknown, refuse: (offset: number, problem: string) => never): void {
  const pending: { node: unknown; depth: number }[] = [{ node: root, depth: 1 }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { node, depth } = next;
    if (node === null || node === undefined) continue;
    const offset = startOf(node);
    if (isAlias(node)) refuse(offset, `alias *${node.source} is not accepted; write the value out`);
    const { anchor, tag } = node as { anchor?: string; tag?: string };
    if (anchor !== undefined) refuse(offset, `anchor &${anchor} is not accepted; remove it`);
    if (tag !== undefined) refuse(offset, `tag ${tag} is not accepted; remove it`);
    if (isScalar(node)) continue;
    if (depth > MAX_YAML_DEPTH) refuse(offset, TOO_DEEP);
    if (isSeq(node)) {
      for (const item of node.items) pending.push({ node: item, depth: depth + 1 });
      continue;
    }
    if (!isMap(node)) refuse(offset, "unexpected content; expected a map, a list or a value");
    const seen = new Set<string>();
    for (const pair of node.items) {
      assertKey(pair.key, seen, refuse);
      pending.push({ node: pair.key, depth: depth + 1 }, { node: pair.value, depth: depth + 1 });
    }
  }
}

function assertKey(key: unknown, seen: Set<string>, refuse: (offset: number, problem: string) => never): void {
  // Aliases and odd keys are named by the walk, which visits keys as well.
  if (!isScalar(key)) return;
  const name = String(key.value);
  if (name === "<<") refuse(startOf(key), "merge key << is not accepted; write the entries out");
  if (name === "__proto__") refuse(startOf(key), "__proto__ is not accepted as a key");
  if (seen.has(name)) refuse(startOf(key), `duplicate key "${name}"; keep one of them`);
  seen.add(name);
}

function offsetOf(document: Document, path: YamlPath): number {
  let node: unknown = document.contents;
  let offset = startOf(node);
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (!pair) return offset;
      offset = startOf(pair.key);
      node = pair.value;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      if (item === undefined || item === null) return offset;
      offset = startOf(item);
      node = item;
    } else return offset;
  }
  return offset;
}

import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { maskSource } from "./source-mask.ts";

const SKIPPED_FOLDERS = new Set(["node_modules", ".git", ".venv", "dist", "data", "results", "__pycache__"]);
const BINARY = /\.(png|ico|woff2?|gz|db|node)$/;

/** A file of the repository, with its path from the root, `/` between the parts. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** TypeScript only, else `text`: see MaskedSource. */
  readonly code: string;
  readonly withStrings: string;
}

export interface Import {
  readonly specifier: string;
  /** `import type`, `export type`, or every name marked `type`. */
  readonly typeOnly: boolean;
  /** What stands between `import` and `from`; empty for `import "x"` and `import("x")`. */
  readonly clause: string;
  readonly kind: "import" | "re-export" | "dynamic";
  readonly line: number;
}

/** Makes a SourceFile from text: how rules are fed with examples. */
export function sourceFile(path: string, text: string): SourceFile {
  const masked = isTypeScript(path) ? maskSource(text) : { code: text, withStrings: text };
  return { path, text, ...masked };
}

/** Every text file below `root` that belongs to the repository, sorted by path. */
export function readTree(root: string): SourceFile[] {
  const files: SourceFile[] = [];
  const walk = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = posix.join(folder, entry.name);
      if (entry.isDirectory() && !SKIPPED_FOLDERS.has(entry.name)) walk(path);
      if (entry.isFile() && !BINARY.test(path) && !path.endsWith(".log")) {
        files.push(sourceFile(path, readFileSync(join(root, path), "utf8")));
      }
    }
  };
  walk("");
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

export function isTypeScript(path: string): boolean {
  return /\.(ts|tsx|mts)$/.test(path);
}

/** 1-based line of `offset`. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

/** `path:line` of every match of `pattern` (which must be global) in `view` of the file. */
export function matches(file: SourceFile, view: "code" | "withStrings" | "text", pattern: RegExp): string[] {
  return [...file[view].matchAll(pattern)].map(
    (match) => `${file.path}:${lineAt(file.text, match.index)} ${match[0].trim().slice(0, 60)}`,
  );
}

const STATIC_IMPORT = /(?<![\w$.])(import|export)\s+(?:([^"';()=]*?)\s*from\s*)?["']([^"'\n]+)["']/g;
const DYNAMIC_IMPORT = /(?<![\w$.])(?:import|require|getBuiltinModule)\s*\(\s*["'`]([^"'`\n]+)["'`]/g;

/** The imports and re-exports of a TypeScript file; those that only stand in a string or a comment are not. */
export function importsOf(file: SourceFile): Import[] {
  const found: Import[] = [];
  const inCode = (offset: number): boolean => /\S/.test(file.code[offset] ?? " ");
  for (const match of file.withStrings.matchAll(STATIC_IMPORT)) {
    const [, word, clause = "", specifier = ""] = match;
    if (!inCode(match.index) || (word === "export" && clause === "")) continue;
    found.push({
      specifier,
      clause,
      typeOnly: isTypeOnly(clause),
      kind: word === "export" ? "re-export" : "import",
      line: lineAt(file.text, match.index),
    });
  }
  for (const match of file.withStrings.matchAll(DYNAMIC_IMPORT)) {
    if (!inCode(match.index)) continue;
    const line = lineAt(file.text, match.index);
    found.push({ specifier: match[1] ?? "", clause: "", typeOnly: false, kind: "dynamic", line });
  }
  return found;
}

/** The path of a relative import from the repository root; null for packages and `node:` modules. */
export function resolveImport(file: SourceFile, specifier: string): string | null {
  return specifier.startsWith(".") ? posix.join(posix.dirname(file.path), specifier) : null;
}

/** The names that a clause brings in as values: `[imported, local]`; a namespace or default import is `["*", local]`. */
export function valueNames(clause: string): [imported: string, local: string][] {
  if (/^type\s/.test(clause)) return [];
  const names: [string, string][] = [];
  const braces = /\{([^}]*)\}/.exec(clause)?.[1] ?? "";
  for (const item of braces.split(",").map((part) => part.trim())) {
    if (item === "" || item.startsWith("type ")) continue;
    const [imported = "", local = imported] = item.split(/\s+as\s+/);
    names.push([imported, local]);
  }
  const outside = clause.replace(/\{[^}]*\}/, "");
  for (const item of outside.split(",").map((part) => part.trim())) {
    if (item !== "") names.push(["*", item.replace(/^\*\s+as\s+/, "")]);
  }
  return names;
}

function isTypeOnly(clause: string): boolean {
  if (clause === "") return false;
  return /^type\s/.test(clause) || (clause.startsWith("{") && valueNames(clause).length === 0);
}

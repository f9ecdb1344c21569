import { functionSpans } from "./function-spans.ts";
import { importsOf, isTypeScript, matches, resolveImport, type SourceFile } from "./source-file.ts";
import { type Exceptions, inSource, isExcepted, type Rule } from "./tidy-owners.ts";

const MAX_FILE_LINES = 350;
const MAX_FUNCTION_LINES = 70;

/** Who may import whom, by first folder below src. A file directly in src is a leaf of its own. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  leaf: [],
  providers: ["leaf", "providers"],
  policy: ["providers", "policy"],
  store: ["leaf", "store"],
  daemon: ["leaf", "providers", "policy", "store", "daemon"],
  cli: ["leaf", "providers", "policy", "store", "daemon", "cli"],
};

export const importDirections: Rule = (files) =>
  files.flatMap((file) =>
    isTypeScript(file.path) && /^(src|ui)\//.test(file.path)
      ? importsOf(file).flatMap((one) => {
          const target = resolveImport(file, one.specifier);
          const problem = target && directionProblem(file.path, target, one.typeOnly);
          return problem ? [`${file.path}:${one.line} imports ${target}: ${problem}`] : [];
        })
      : [],
  );

function directionProblem(from: string, to: string, typeOnly: boolean): string | null {
  if (from.startsWith("ui/")) return to.startsWith("ui/") ? null : consoleProblem(to, typeOnly);
  if (!to.startsWith("src/")) return to === "package.json" ? null : "src imports nothing outside src";
  const importer = layerOf(from);
  const imported = layerOf(to);
  if (!MAY_IMPORT[importer]?.includes(imported)) return `${importer} may not import ${imported}`;
  if (to === "src/daemon/daemon.ts" && importer !== "cli") return "only cli imports the composition root";
  const isRequestPath = /^src\/daemon\/(ingress|pipeline)\//.test(from);
  if (isRequestPath && /^src\/daemon\/(admin|monitor)\//.test(to)) return "the request path knows no admin or monitor";
  return null;
}

function consoleProblem(to: string, typeOnly: boolean): string | null {
  return to === "src/daemon/admin/contract.ts" && typeOnly ? null : "the console imports only types of the contract";
}

function layerOf(path: string): string {
  const parts = path.split("/");
  return parts.length === 2 ? "leaf" : (parts[1] ?? "leaf");
}

const POLICY_MODULES = new Set(["zod", "yaml"]);
const IMPURE =
  /(?<![\w$.#])(?:Date\s*\.\s*now|new\s+Date\s*\(\s*\)|performance\s*\.|Math\s*\.\s*random|process\s*[.[]|set(?:Timeout|Interval|Immediate)\s*\(|fetch\s*\()/g;

/** No clock, no I/O, no randomness: the same policy and query give the same decision for ever. */
export const purePolicy: Rule = (files) =>
  files
    .filter(({ path }) => path.startsWith("src/policy/"))
    .flatMap((file) => [
      ...matches(file, "code", IMPURE),
      ...importsOf(file)
        .filter(({ specifier, clause, typeOnly }) => {
          if (typeOnly || specifier.startsWith(".") || POLICY_MODULES.has(specifier)) return false;
          return !(
            specifier === "node:net" && /^\{\s*isIP(?:v[46])?(?:\s*,\s*isIP(?:v[46])?)*\s*,?\s*\}$/.test(clause)
          );
        })
        .map(({ specifier, line }) => `${file.path}:${line} imports ${specifier}`),
    ])
    .map((problem) => `${problem}: policy is pure`);

const SIZED = /^(src|test|bench|scripts|ui)\//;

export const fileLength =
  (tables: Exceptions): Rule =>
  (files) =>
    files
      .filter(({ path }) => isTypeScript(path) && SIZED.test(path) && !isExcepted(path, tables))
      .map(({ path, text }) => ({ path, lines: text.replace(/\n$/, "").split("\n").length }))
      .filter(({ lines }) => lines > MAX_FILE_LINES)
      .map(({ path, lines }) => `${path} has ${lines} lines, more than ${MAX_FILE_LINES}: one noun per file`);

export const functionLength: Rule = (files) =>
  files
    .filter(({ path }) => isTypeScript(path) && SIZED.test(path))
    .flatMap((file) =>
      functionSpans(file.code)
        .filter(({ line, lines }) => lines > MAX_FUNCTION_LINES && !groupsTests(file, line))
        .map(
          ({ name, line, lines }) => `${file.path}:${line} ${name} has ${lines} lines, more than ${MAX_FUNCTION_LINES}`,
        ),
    );

// The callback of describe() is a list of tests, not a function that someone has to follow.
function groupsTests(file: SourceFile, line: number): boolean {
  return file.path.startsWith("test/") && /\b(?:describe|suite)\(/.test(file.code.split("\n")[line - 1] ?? "");
}

export const noDefaultExport: Rule = (files) =>
  files
    .filter(({ path }) => isTypeScript(path) && !path.startsWith("ui/vite"))
    .flatMap((file) => matches(file, "code", /(?<![\w$.])export\s+(?:default\b|\{[^}]*\bas\s+default\b)/g));

export const noBarrel: Rule = (files) => [
  ...inSource(files)
    .filter(({ path }) => /\/index\.tsx?$/.test(path))
    .map(({ path }) => `${path}: a file is named by its noun`),
  ...inSource(files).flatMap((file) =>
    importsOf(file)
      .filter(({ kind }) => kind === "re-export")
      .map(({ specifier, line }) => `${file.path}:${line} re-exports ${specifier}: import it from its own file`),
  ),
];

export const noDrawer: Rule = (files) =>
  files
    .map(({ path }) => path)
    .filter((path) => /\/(?:utils?|misc|helpers?|common|shared)\.tsx?$/i.test(path))
    .map((path) => `${path}: a drawer; name the file by its noun`);

export const noAny: Rule = (files) =>
  files
    .filter(({ path }) => isTypeScript(path))
    .flatMap((file) => matches(file, "code", /(?:[:<|&,(=]\s*|\bas\s+|\bextends\s+)any\b(?!\s*[:(])/g))
    .map((problem) => `${problem}: use unknown and parse`);

/** Every source file has the test file of its name, or the list says which test covers it and why. */
export const mirroredTests =
  (elsewhere: Exceptions): Rule =>
  (files) => {
    const paths = new Set(files.map(({ path }) => path));
    return inSource(files)
      .filter(({ path }) => !isExcepted(path, elsewhere))
      .map(({ path }) => ({ path, test: path.replace(/^src\//, "test/").replace(/\.tsx?$/, ".test.ts") }))
      .filter(({ test }) => !paths.has(test))
      .map(({ path, test }) => `${path} has no ${test}`);
  };

/** An exception for a file that is gone hides the next one; a test that a reason names has to be there too. */
export const exceptionsExist =
  (...lists: readonly Exceptions[]): Rule =>
  (files) =>
    lists
      .flatMap((list) => Object.entries(list))
      .flatMap(([path, reason]) => {
        const exists = files.some((file) => file.path === path || (path.endsWith("/") && file.path.startsWith(path)));
        if (!exists) return [`${path} is excepted but does not exist`];
        if (reason.trim().length < 15) return [`${path} is excepted without a reason`];
        return (reason.match(/\btest\/[\w./-]+\.ts\b/g) ?? [])
          .filter((test) => !files.some((file) => file.path === test))
          .map((test) => `${path} is said to be covered by ${test}, which does not exist`);
      });

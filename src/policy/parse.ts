import {
  parseYamlStrict,
  type YamlFile,
  type YamlPath,
  type YamlPosition,
  YamlProblem,
} from "../providers/yaml-document.ts";
import { formatPath, MAX_PROBLEMS, PolicyError, type PolicyProblem } from "./problem.ts";
import { type PolicyFile, policyFile } from "./schema.ts";

/** A policy file whose shape is right. Names in it are not checked against the catalog or the vault yet. */
export interface PolicyDocument {
  readonly file: string;
  readonly content: PolicyFile;
  /** A problem at a place of the file. */
  problemAt(path: YamlPath, message: string): PolicyProblem;
}

/** Keys that the format has room for and that this version does not act on; ignoring one would be a silent hole. */
const LATER_KEYS: readonly { readonly path: RegExp; readonly instead: string }[] = [
  { path: /^clients\.[^.]+\.jwt$/, instead: "use token: true" },
  { path: /\.limits\[\d+\]\.onError$/, instead: "limits are counted in this process, so remove it" },
];

/**
 * Parses policy.yaml strictly.
 * @param file name for messages
 * @throws PolicyError with the problems of the file (50 at most), each with line, column and path.
 */
export function parsePolicy(text: string, file: string): PolicyDocument {
  const yaml = readYaml(text, file);
  const checked = policyFile.safeParse(yaml.value ?? {});
  if (!checked.success) throw new PolicyError(file, describedAll(yaml, checked.error.issues));
  return {
    file,
    content: checked.data,
    problemAt: (path, message) => problemAt(yaml.lineOf(path), path, message),
  };
}

function readYaml(text: string, file: string): YamlFile {
  try {
    return parseYamlStrict(text, file);
  } catch (error) {
    if (!(error instanceof YamlProblem)) throw error;
    throw new PolicyError(file, [problemAt(error, [], error.problem)]);
  }
}

function problemAt({ line, column }: YamlPosition, path: YamlPath, message: string): PolicyProblem {
  return { line, column, path: formatPath(path), message };
}

/** What is used of a zod issue. */
interface Issue {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
  readonly issues?: readonly Issue[];
  readonly errors?: readonly (readonly Issue[])[];
}

function describedAll(yaml: YamlFile, issues: readonly Issue[]): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  for (const issue of issues) {
    if (problems.length >= MAX_PROBLEMS) break;
    problems.push(...described(yaml, issue, []));
  }
  return problems;
}

function described(yaml: YamlFile, issue: Issue, parent: YamlPath): PolicyProblem[] {
  const path = [...parent, ...issue.path.map((step) => (typeof step === "number" ? step : String(step)))];
  if (issue.code === "unrecognized_keys") {
    return (issue.keys ?? []).slice(0, MAX_PROBLEMS).map((key) => {
      const at = [...path, key];
      return problemAt(yaml.lineOf(at), at, unknownKey(formatPath(at)));
    });
  }
  if (issue.code === "invalid_union") {
    const branch = meantBranch(issue.errors ?? []);
    if (branch !== undefined) return branch.flatMap((inner) => described(yaml, inner, path));
  }
  const message = issue.code === "invalid_key" ? (issue.issues?.[0]?.message ?? issue.message) : issue.message;
  return [problemAt(yaml.lineOf(path), path, message)];
}

function unknownKey(path: string): string {
  const later = LATER_KEYS.find((key) => key.path.test(path));
  if (later !== undefined) return `not available in this version; ${later.instead}`;
  return "unknown key; remove it or correct its spelling";
}

/** Of the forms that a value may take, the one that it was written in; undefined when it is none of them. */
function meantBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return branches.find((issues) => !issues.some(({ code, path }) => code === "invalid_type" && path.length === 0));
}

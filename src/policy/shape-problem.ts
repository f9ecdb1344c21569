import type { YamlFile, YamlPath, YamlPosition } from "../providers/yaml-document.ts";
import { formatPath, MAX_PROBLEMS, type PolicyProblem } from "./problem.ts";

/** A problem at a place of a file. */
export function problemAt({ line, column }: YamlPosition, path: YamlPath, message: string): PolicyProblem {
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

/** What is wrong with a key that the format does not have. */
type UnknownKey = (path: string) => string;

/**
 * What zod found, as problems with their places; about 50 at most.
 * @param unknownKey what to say of a key that the format does not have, by its path
 */
export function shapeProblems(yaml: YamlFile, issues: readonly Issue[], unknownKey: UnknownKey): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  for (const issue of issues) {
    if (problems.length >= MAX_PROBLEMS) break;
    problems.push(...described(yaml, issue, [], unknownKey));
  }
  return problems;
}

function described(yaml: YamlFile, issue: Issue, parent: YamlPath, unknownKey: UnknownKey): PolicyProblem[] {
  const path = [...parent, ...issue.path.map((step) => (typeof step === "number" ? step : String(step)))];
  if (issue.code === "unrecognized_keys") {
    return (issue.keys ?? []).slice(0, MAX_PROBLEMS).map((key) => {
      const at = [...path, key];
      return problemAt(yaml.lineOf(at), at, unknownKey(formatPath(at)));
    });
  }
  if (issue.code === "invalid_union") {
    const branch = meantBranch(issue.errors ?? []);
    if (branch !== undefined) return branch.flatMap((inner) => described(yaml, inner, path, unknownKey));
  }
  const message = issue.code === "invalid_key" ? (issue.issues?.[0]?.message ?? issue.message) : issue.message;
  return [problemAt(yaml.lineOf(path), path, message)];
}

/** Of the forms that a value may take, the one that it was written in; undefined when it is none of them. */
function meantBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return branches.find((issues) => !issues.some(({ code, path }) => code === "invalid_type" && path.length === 0));
}

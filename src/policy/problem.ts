/** One thing that is wrong with a policy file. Line and column count from 1. */
export interface PolicyProblem {
  readonly line: number;
  readonly column: number;
  /** Such as `routes.fmp.limits[0].requests`; empty for the file as a whole. */
  readonly path: string;
  /** What is wrong and what to write instead, without file and path. */
  readonly message: string;
}

/** Problems reported at most: finding the line of each costs a walk, and nobody reads more at once. */
export const MAX_PROBLEMS = 50;

/** A policy that cannot take effect. `message` lists the problems (50 at most) as `file:line path: what is wrong`, one per line. */
export class PolicyError extends Error {
  readonly file: string;
  readonly problems: readonly PolicyProblem[];

  constructor(file: string, problems: readonly PolicyProblem[]) {
    const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
    super(sorted.map((problem) => formatProblem(file, problem)).join("\n"));
    this.name = "PolicyError";
    this.file = file;
    this.problems = sorted;
  }
}

/** `policy.yaml:14 routes.fmp.limits[0].requests: 300 has no unit; write 300/min` */
export function formatProblem(file: string, problem: PolicyProblem): string {
  const place = problem.path === "" ? `${file}:${problem.line}` : `${file}:${problem.line} ${problem.path}`;
  return `${place}: ${problem.message}`;
}

/** `["routes", "fmp", "limits", 0]` -> `routes.fmp.limits[0]` */
export function formatPath(path: readonly (string | number)[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    return text === "" ? step : `${text}.${step}`;
  }, "");
}

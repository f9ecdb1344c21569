import { readFileSync } from "node:fs";
import { z } from "zod";
import type { PolicySnapshot } from "../policy/compile.ts";
import { decide } from "../policy/decide.ts";
import { formatPath } from "../policy/problem.ts";
import { parseYamlStrict, YamlProblem } from "../providers/yaml-document.ts";
import { CliError } from "./failure.ts";
import { policyQuery } from "./policy-source.ts";

const fixture = z.strictObject({
  name: z.string().min(1),
  url: z.string().min(1),
  method: z.string().min(1).default("GET"),
  client: z.string().min(1).default("app"),
  expect: z.enum(["allow", "deny"]),
  /** Reason code of the denial, such as `path_not_on_route`. */
  reason: z.string().optional(),
  /** Id of the route that must have decided. */
  route: z.string().optional(),
});

const fixtures = z.array(fixture, { error: "must be a list of expectations" }).min(1, "is empty");

export type Fixture = z.infer<typeof fixture>;

export interface FixtureResult {
  readonly name: string;
  readonly pass: boolean;
  readonly expected: string;
  readonly got: string;
}

/** Reads expectations about the policy. @throws CliError that names file, line and what is wrong */
export function readFixtures(file: string): readonly Fixture[] {
  const yaml = parse(file);
  const checked = fixtures.safeParse(yaml.value);
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map((issue) => {
    const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
    return `${file}:${yaml.lineOf(path).line} ${formatPath(path) || "the file"}: ${issue.message}`;
  });
  throw new CliError(problems.join("\n"), {
    nextStep: "an entry is { name, url, method?, client?, expect: allow|deny, reason?, route? }",
  });
}

function parse(file: string): ReturnType<typeof parseYamlStrict> {
  try {
    return parseYamlStrict(readFileSync(file, "utf8"), file);
  } catch (error) {
    if (error instanceof YamlProblem) throw new CliError(error.message);
    // Node leaves the path out of what a failed read says.
    throw Object.assign(error instanceof Error ? error : new Error("unreadable"), { path: file });
  }
}

export function runFixture(policy: PolicySnapshot, wanted: Fixture): FixtureResult {
  const decision = decide(policy, policyQuery(wanted.url, wanted));
  const got = {
    verdict: decision.allow ? "allow" : "deny",
    reason: decision.allow ? undefined : decision.reason,
    route: decision.route?.id,
  };
  const pass =
    got.verdict === wanted.expect &&
    (wanted.reason === undefined || wanted.reason === got.reason) &&
    (wanted.route === undefined || wanted.route === got.route);
  return {
    name: wanted.name,
    pass,
    expected: verdictText(wanted.expect, wanted.reason, wanted.route),
    got: verdictText(got.verdict, got.reason, got.route),
  };
}

function verdictText(verdict: string, reason: string | undefined, route: string | undefined): string {
  return [verdict, reason, route === undefined ? undefined : `(${route})`]
    .filter((part) => part !== undefined)
    .join(" ");
}

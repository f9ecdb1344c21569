import { basename, dirname, resolve } from "node:path";
import { z } from "zod";
import { formatPath, PolicyError, type PolicyProblem } from "../policy/problem.ts";
import { parseYamlStrict, type YamlFile, YamlProblem } from "../providers/yaml-document.ts";
import type { AcceptAs } from "../store/submission-accept.ts";
import { readConfigFile } from "./policy-file.ts";

/** Name of the file in the config directory. */
export const SUBMISSION_LIST_FILE = "credentials.yaml";

/** A sealed submission that the configuration names. */
export interface ListedSubmission {
  /** For messages: the path as the file writes it, or `submissions[2]` for one that stands in the file itself. */
  readonly source: string;
  /** Absolute; null when the text stands in the file. */
  readonly file: string | null;
  readonly as: AcceptAs;
  /** The armored text. @throws PolicyFileError when its file cannot be read */
  read(): string;
}

const entry = z.strictObject({
  file: z.string().min(1).optional(),
  sealed: z.string().min(1).optional(),
  as: z.enum(["current", "pending"]).default("current"),
});
const schema = z.strictObject({ version: z.literal(1), submissions: z.array(entry).max(1000).default([]) });

type Entry = z.infer<typeof entry>;

/**
 * Reads the list of submissions. Relative paths in it start at its own directory.
 * @throws PolicyFileError, PolicyError with every problem
 */
export function readSubmissionList(path: string): ListedSubmission[] {
  const name = basename(path);
  const yaml = parse(readConfigFile(path, "the config directory"), name);
  const checked = schema.safeParse(yaml.value);
  if (!checked.success)
    throw new PolicyError(
      name,
      checked.error.issues.map((issue) => described(yaml, issue)),
    );
  const problems: PolicyProblem[] = [];
  const list = checked.data.submissions.map((each, index) => {
    if ((each.file === undefined) === (each.sealed === undefined)) {
      const at = ["submissions", index];
      const message = "names a file or holds the sealed text, and not both; write `file:` or `sealed: |`";
      problems.push({ ...yaml.lineOf(at), path: formatPath(at), message });
    }
    return listed(path, each, index);
  });
  if (problems.length > 0) throw new PolicyError(name, problems);
  return list;
}

function listed(path: string, each: Entry, index: number): ListedSubmission {
  const { as } = each;
  if (each.file === undefined) {
    return { source: `submissions[${index}]`, file: null, as, read: () => each.sealed ?? "" };
  }
  const file = resolve(dirname(path), each.file);
  const named = `submissions[${index}].file in ${basename(path)}`;
  return { source: each.file, file, as, read: () => readConfigFile(file, named) };
}

function parse(text: string, name: string): YamlFile {
  try {
    return parseYamlStrict(text, name);
  } catch (error) {
    if (!(error instanceof YamlProblem)) throw error;
    const { line, column, problem: message } = error;
    throw new PolicyError(name, [{ line, column, path: "", message }]);
  }
}

function described(yaml: YamlFile, issue: z.core.$ZodIssue): PolicyProblem {
  const path = issue.path.filter((step) => typeof step !== "symbol");
  return { ...yaml.lineOf(path), path: formatPath(path), message: issue.message };
}

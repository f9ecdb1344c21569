import { parseYamlStrict, type YamlFile, type YamlPath, YamlProblem } from "../providers/yaml-document.ts";
import { PolicyError, type PolicyProblem } from "./problem.ts";
import { type PolicyFile, policyFile } from "./schema.ts";
import { problemAt, shapeProblems } from "./shape-problem.ts";

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
  if (!checked.success) throw new PolicyError(file, shapeProblems(yaml, checked.error.issues, unknownKey));
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

function unknownKey(path: string): string {
  const later = LATER_KEYS.find((key) => key.path.test(path));
  if (later !== undefined) return `not available in this version; ${later.instead}`;
  return "unknown key; remove it or correct its spelling";
}

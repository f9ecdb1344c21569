import { usageError } from "./failure.ts";

/** What `sidekey env --format` offers. */
export const ENVIRONMENT_FORMATS = ["sh", "dotenv", "compose", "k8s"] as const;

export type EnvironmentFormat = (typeof ENVIRONMENT_FORMATS)[number];

interface Layout {
  /** Lines before the variables. */
  readonly heading: readonly string[];
  readonly lines: (name: string, value: string) => readonly string[];
}

const LAYOUTS: Readonly<Record<EnvironmentFormat, Layout>> = {
  sh: { heading: [], lines: (name, value) => [`export ${name}=${shellQuoted(value)}`] },
  dotenv: { heading: [], lines: (name, value) => [`${name}=${dotenvQuoted(name, value)}`] },
  compose: { heading: ["environment:"], lines: (name, value) => [`  ${name}: ${yamlQuoted(value)}`] },
  k8s: { heading: ["env:"], lines: (name, value) => [`  - name: ${name}`, `    value: ${yamlQuoted(value)}`] },
};

const K8S_ADVICE = [
  "# The proxy URLs hold the client's token. Keep it in a Secret, let an earlier entry SIDEKEY_TOKEN take it with",
  "# valueFrom.secretKeyRef, and write $(SIDEKEY_TOKEN) for it below.",
];

/**
 * Writes variables as text that `format`'s reader turns back into exactly the same values.
 * - `sh`: `export` lines for any POSIX shell
 * - `dotenv`: for `node --env-file`, dotenv libraries, compose `env_file`, systemd `EnvironmentFile`
 * - `compose`: a service's `environment:`; `k8s`: a container's `env:`
 * @param alternatives printed below as comments (see `baseUrlEnvironment`)
 * @throws Error naming the variable whose name or value the format cannot hold (control characters; in dotenv also a
 *   value with both kinds of quote). The value itself is not quoted: it may hold a token.
 */
export function formatEnvironment(
  variables: ReadonlyMap<string, string>,
  format: EnvironmentFormat,
  alternatives: ReadonlyMap<string, string> = new Map(),
): string {
  const layout = LAYOUTS[format];
  const lines = [...(format === "k8s" ? K8S_ADVICE : []), ...layout.heading, ...render(variables, layout)];
  if (alternatives.size > 0) {
    lines.push("# Or, instead of all the above, for SDKs that take a base URL:");
    lines.push(...render(alternatives, layout).map((line) => `# ${line}`));
  }
  return `${lines.join("\n")}\n`;
}

function render(variables: ReadonlyMap<string, string>, layout: Layout): readonly string[] {
  return [...variables].flatMap(([name, value]) => {
    assertPrintable(name, value);
    return layout.lines(name, value);
  });
}

function assertPrintable(name: string, value: string): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw usageError(`"${name}" is not a name for an environment variable`);
  // A line break would end the line, and in a comment let the rest of the value out of it.
  if (/\p{Cc}/u.test(value)) throw usageError(`${name}: the value has a control character; remove it`);
}

/** Inside single quotes nothing is special; a single quote itself goes outside, escaped. */
function shellQuoted(value: string): string {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

/**
 * The readers of .env files agree on bare words and on single quotes. Within double quotes they differ on backslash and
 * dollar, so those are used only for a value that has a single quote and none of the characters they differ on.
 */
function dotenvQuoted(name: string, value: string): string {
  if (/^[A-Za-z0-9_./:@,=+%-]*$/.test(value)) return value;
  if (!value.includes("'")) return `'${value}'`;
  if (!/["\\$`]/.test(value)) return `"${value}"`;
  throw usageError(`${name}: the value mixes quotes, which .env files cannot hold; use --format sh`);
}

/** A JSON string is a YAML string. Compose and Kubernetes both expand `$` themselves, and read `$$` as one. */
function yamlQuoted(value: string): string {
  return JSON.stringify(value.replaceAll("$", () => "$$"));
}

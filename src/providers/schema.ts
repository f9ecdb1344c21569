import { basename } from "node:path";
import { buildProvider, type Refuse } from "./build-provider.ts";
import { type Evidence, type ProviderFile, providerFile } from "./file-format.ts";
import type { Glob } from "./glob.ts";
import { parseYamlStrict, type YamlFile, type YamlPath, YamlProblem } from "./yaml-document.ts";

/** A third-party API of the catalog, as its file describes it. Immutable. */
export interface Provider {
  readonly id: string;
  readonly name: string;
  readonly category: string;
  readonly docs: string;
  readonly keyPage?: string;
  readonly sources: readonly string[];
  /** Insertion order of the file; the first is the default. */
  readonly environments: ReadonlyMap<string, Environment>;
  /** Insertion order is the order of prompting. */
  readonly fields: ReadonlyMap<string, Field>;
  readonly auth: readonly AuthRule[];
  /** Already the union of the file's `carriers` and every place named in `auth`. */
  readonly carriers: Carriers;
  /** Companions such as an API version, by lower-case name; set only when the client sent none. */
  readonly requestHeaders: ReadonlyMap<string, string>;
  readonly probe: Probe | null;
  readonly expiry: Expiry | null;
  /** Endpoints whose answers hold new tokens; those that `auth` exchanges fields at are among them. */
  readonly mints: readonly MintRule[];
  readonly permissions: string | null;
  /** Hints for policy authors, never enforced. */
  readonly limits: readonly PlanLimit[];
  readonly limitHeaders: LimitHeaders | null;
  readonly errors: readonly ErrorRule[];
  readonly usage: UsageHint | null;
  readonly websocket: readonly WebSocketEndpoint[];
  readonly rotation: Rotation | null;
}

export interface Environment {
  readonly hosts: readonly HostPattern[];
}

/** A host that a provider answers on. */
export interface HostPattern {
  /** Canonical lower-case name, or `*.` and a suffix, where the star is exactly one label. */
  readonly host: string;
  readonly port: number;
  readonly wildcard: boolean;
}

/** Literal text around one credential field: `Bearer {api_key}`. */
export interface Template {
  readonly prefix: string;
  readonly suffix: string;
  /** Field name; null for the empty template, which stands for nothing. */
  readonly field: string | null;
}

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly secret: boolean;
  readonly shape: Shape | null;
  readonly hint: string | null;
}

/** What a field's value looks like. Enforced when the evidence is better than recollection. */
export interface Shape {
  /** Any one of these begins the value; empty = any beginning. */
  readonly prefixes: readonly string[];
  /** Allowed byte values (0-127) for the whole value, prefix included; null = any printable ASCII. */
  readonly alphabet: ReadonlySet<number> | null;
  /** The alphabet as the file writes it, for messages. */
  readonly alphabetText: string | null;
  /** Bounds on the length in bytes, both included. */
  readonly minLength: number;
  readonly maxLength: number;
  readonly evidence: Evidence | null;
  readonly enforced: boolean;
}

/** Where a rule applies; what is absent does not narrow. */
interface Narrowing {
  /** Exact names, or `*.suffix` as in `environments`. */
  readonly hosts?: ReadonlySet<string>;
  readonly methods?: ReadonlySet<string>;
  readonly paths?: readonly Glob[];
}

export type HeaderAuth = Narrowing & {
  readonly scheme: "header";
  readonly headers: readonly {
    readonly name: string;
    readonly prefix: string;
    readonly suffix: string;
    readonly field: string;
  }[];
};
export type QueryAuth = Narrowing & {
  readonly scheme: "query";
  readonly query: readonly { readonly name: string; readonly field: string }[];
};
export type BasicAuth = Narrowing & { readonly scheme: "basic"; readonly user: Template; readonly password: Template };
export type BodyJsonAuth = Narrowing & {
  readonly scheme: "body-json";
  readonly pointer: string;
  readonly field: string;
};
/** The stored fields are exchanged for an access token (RFC 6749), which is what the provider's hosts take. */
export type OAuth2Auth = Narrowing & {
  readonly scheme: "oauth2";
  readonly grant: "client-credentials" | "refresh-token";
  /** A host of an environment; the fields are bound to it too. */
  readonly tokenHost: string;
  /** `{field}` stands for a field that is no secret. */
  readonly tokenPath: string;
  /** How the client shows its id and secret there (RFC 6749 section 2.3.1). */
  readonly clientAuth: "basic" | "body";
  /** Names of fields. */
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshToken: string | null;
  readonly scope: string | null;
};
export type NoAuth = Narrowing & { readonly scheme: "none" };
export type AuthRule = HeaderAuth | QueryAuth | BasicAuth | BodyJsonAuth | OAuth2Auth | NoAuth;

export interface MintRule {
  /** Absent: every host of the provider. */
  readonly hosts?: ReadonlySet<string>;
  readonly methods: ReadonlySet<string>;
  readonly paths: readonly Glob[];
  /** Names of JSON members or form fields. */
  readonly members: ReadonlySet<string>;
}

/** Every place where a provider would take a key. */
export interface Carriers {
  /** Lower-case. */
  readonly headers: ReadonlySet<string>;
  /** Lower-case; parameter names are compared case-insensitively. */
  readonly query: ReadonlySet<string>;
  /** JSON pointers. */
  readonly body: readonly string[];
  readonly cookies: ReadonlySet<string>;
  /** Words that may stand before a key in a header, lower-case and with their space, from the auth templates. */
  readonly prefixes?: readonly string[];
}

export type Probe = NonNullable<ProviderFile["probe"]>;
export type Expiry = NonNullable<ProviderFile["expiry"]>;
export type PlanLimit = NonNullable<ProviderFile["limits"]>[number];
export type LimitHeaders = NonNullable<ProviderFile["limitHeaders"]>;
export type ErrorRule = NonNullable<ProviderFile["errors"]>[number];
export type UsageHint = NonNullable<ProviderFile["usage"]>;
export type WebSocketEndpoint = NonNullable<ProviderFile["websocket"]>[number];
export type Rotation = NonNullable<ProviderFile["rotation"]>;

/** Everything that is wrong with one provider file; `line` is that of the first problem. */
export class ProviderFileError extends Error {
  readonly file: string;
  readonly line: number;

  constructor(file: string, problems: readonly { line: number; problem: string }[]) {
    super(problems.map(({ line, problem }) => `${file}:${line} ${problem}`).join("\n"));
    this.name = "ProviderFileError";
    this.file = file;
    this.line = problems[0]?.line ?? 1;
  }
}

/**
 * Reads one provider file. `file` is its path, for messages and because the id must be the file's name.
 * @throws ProviderFileError with one `file:line path: problem` line per problem.
 */
export function parseProvider(text: string, file: string): Provider {
  const yaml = readYaml(text, file);
  const checked = providerFile.safeParse(yaml.value);
  if (!checked.success)
    throw new ProviderFileError(
      file,
      checked.error.issues.flatMap((issue) => described(yaml, issue)),
    );
  const problems: { line: number; problem: string }[] = [];
  const refuse: Refuse = (path, problem) => {
    problems.push({ line: yaml.lineOf(path).line, problem: `${pathText(path)}: ${problem}` });
  };
  const expected = basename(file).replace(/\.yaml$/, "");
  if (checked.data.id !== expected) refuse(["id"], `"${checked.data.id}" is not the file's name; write ${expected}`);
  const provider = buildProvider(checked.data, refuse);
  if (problems.length > 0) throw new ProviderFileError(file, problems);
  return provider;
}

function readYaml(text: string, file: string): YamlFile {
  try {
    return parseYamlStrict(text, file);
  } catch (error) {
    if (error instanceof YamlProblem) throw new ProviderFileError(file, [{ line: error.line, problem: error.problem }]);
    throw error;
  }
}

interface Issue {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
  readonly issues?: readonly { readonly message: string }[];
}

function described(yaml: YamlFile, issue: Issue): { line: number; problem: string }[] {
  const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
  if (issue.code === "unrecognized_keys") {
    return (issue.keys ?? []).map((key) => ({
      line: yaml.lineOf([...path, key]).line,
      problem: `${pathText([...path, key])}: unknown key; remove it or correct its spelling`,
    }));
  }
  const reason = issue.code === "invalid_key" ? (issue.issues?.[0]?.message ?? issue.message) : issue.message;
  return [{ line: yaml.lineOf(path).line, problem: `${pathText(path)}: ${reason}` }];
}

/** `auth[0].headers.authorization` */
function pathText(path: YamlPath): string {
  let text = "";
  for (const step of path) text += typeof step === "number" ? `[${step}]` : `${text === "" ? "" : "."}${step}`;
  return text === "" ? "the file" : text;
}

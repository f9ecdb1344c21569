import { importsOf, matches, type SourceFile, valueNames } from "./source-file.ts";

/** A rule returns one line for each violation: where it is and what is wrong. */
export type Rule = (files: readonly SourceFile[]) => string[];

/** Paths that a rule leaves alone, each with the reason. A path ending in `/` stands for a folder. */
export type Exceptions = Readonly<Record<string, string>>;

export function isExcepted(path: string, exceptions: Exceptions): boolean {
  return Object.keys(exceptions).some((entry) => path === entry || (entry.endsWith("/") && path.startsWith(entry)));
}

export function inSource(files: readonly SourceFile[]): SourceFile[] {
  return files.filter(({ path }) => /^src\/.*\.tsx?$/.test(path));
}

/** What nobody but the owners may write, told by patterns (global) on code or on code with its strings. */
function owned(
  owners: Exceptions,
  view: "code" | "withStrings",
  patterns: readonly RegExp[],
  advice: string,
  modules: readonly string[] = [],
  harmless: readonly string[] = [],
): Rule {
  return (files) =>
    inSource(files)
      .filter(({ path }) => !isExcepted(path, owners))
      .flatMap((file) => [
        ...patterns.flatMap((pattern) => matches(file, view, pattern)),
        ...importsOf(file)
          .filter(({ specifier, typeOnly }) => !typeOnly && modules.includes(specifier))
          .filter(({ clause }) => !bringsOnly(clause, harmless))
          .map(({ specifier, line }) => `${file.path}:${line} imports ${specifier}`),
      ])
      .map((problem) => `${problem}: ${advice}`);
}

function bringsOnly(clause: string, harmless: readonly string[]): boolean {
  const names = valueNames(clause).map(([imported]) => imported);
  return names.length > 0 && names.every((name) => harmless.includes(name));
}

export const environmentOwner = (owners: Exceptions): Rule =>
  owned(
    owners,
    "withStrings",
    [
      /\bprocess\s*(?:\.\s*env\b|\[\s*["'`]env["'`]\s*\])/g,
      /\{[^}]*\benv\b[^}]*\}\s*=\s*process\b/g,
      /import\s*\{[^}]*\benv\b[^}]*\}\s*from\s*["']node:process["']/g,
    ],
    `only ${Object.keys(owners).join(", ")} may read the environment; pass the value in`,
  );

export const consoleOwner = (owners: Exceptions): Rule =>
  owned(
    owners,
    "code",
    [/\bconsole\s*\./g, /\bprocess\s*\.\s*(?:stdout|stderr)\b/g],
    `only ${Object.keys(owners).join(", ")} may write to the terminal`,
  );

export const sqlOwner = (owners: Exceptions): Rule =>
  owned(
    owners,
    "withStrings",
    [
      /["'`]\s*(?:SELECT\s[^"'`]*?\sFROM|INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM)\s/gs,
      /["'`]\s*(?:CREATE|DROP|ALTER)\s+(?:UNIQUE\s+)?(?:TABLE|INDEX|TRIGGER|VIEW)\s/gs,
      /["'`]\s*(?:PRAGMA\s+\w+|BEGIN(?:\s+IMMEDIATE)?|COMMIT|ROLLBACK|VACUUM)\s*[;"'`=(]/g,
    ],
    "SQL belongs in src/store",
    ["better-sqlite3", "node:sqlite"],
  );

export const metricNameOwner = (owners: Exceptions): Rule =>
  owned(owners, "withStrings", [/["'`]sidekey_\w+/g], "metric names belong in src/daemon/metrics.ts", ["prom-client"]);

export const cryptoOwner = (owners: Exceptions): Rule =>
  owned(
    owners,
    "code",
    [/\b(?:crypto|webcrypto)\s*\.\s*(?:subtle|getRandomValues|randomUUID)\b/g],
    "cryptography belongs to its owners; src/store/crypto.ts has what everyone else needs",
    ["node:crypto", "crypto", "libsodium-wrappers", "@peculiar/x509"],
    // Names of OpenSSL options, for TLS contexts.
    ["constants"],
  );

const CONNECTING: Readonly<Record<string, readonly string[]>> = {
  "node:net": ["connect", "createConnection", "Socket"],
  "node:tls": ["connect"],
  "node:http": ["request", "get", "Agent", "ClientRequest"],
  "node:https": ["request", "get", "Agent"],
  "node:http2": ["connect"],
  "node:dgram": ["createSocket"],
};

/** Nobody but the owners opens a connection: by node's modules, a client library, or the globals. */
export const socketOwner =
  (owners: Exceptions): Rule =>
  (files) =>
    inSource(files)
      .filter(({ path }) => !isExcepted(path, owners))
      .flatMap((file) => [...connectingImports(file), ...matches(file, "code", CONNECTING_GLOBALS)])
      .map((problem) => `${problem}: only ${Object.keys(owners)[0]} opens upstream sockets`);

const CONNECTING_GLOBALS = /(?<![\w$.#])(?:fetch\s*\(|new\s+(?:WebSocket|EventSource)\s*\()/g;
/** Client libraries, with the names of each that open nothing. */
const CLIENT_LIBRARIES: Readonly<Record<string, readonly string[]>> = { undici: ["errors"], ws: [] };

function connectingImports(file: SourceFile): string[] {
  const problems: string[] = [];
  for (const { specifier, clause, typeOnly, kind, line } of importsOf(file)) {
    if (typeOnly) continue;
    const harmless = CLIENT_LIBRARIES[specifier];
    if (harmless && !bringsOnly(clause, harmless)) problems.push(`${file.path}:${line} imports ${specifier}`);
    const forbidden = CONNECTING[specifier];
    if (!forbidden) continue;
    if (kind === "dynamic") problems.push(`${file.path}:${line} loads ${specifier} dynamically`);
    for (const [imported, local] of valueNames(clause)) {
      if (forbidden.includes(imported)) problems.push(`${file.path}:${line} imports ${imported} of ${specifier}`);
      if (imported !== "*") continue;
      const used = new RegExp(`(?<![\\w$.#])${local}\\s*\\.\\s*(?:${forbidden.join("|")})\\b`, "g");
      problems.push(...matches(file, "code", used));
    }
  }
  return problems;
}

/** TLS verification and strict parsing have no switch. */
export const noUnsafeSwitch: Rule = (files) =>
  inSource(files).flatMap((file) =>
    [
      ...matches(file, "code", /\brejectUnauthorized\b(?!\??\s*:\s*(?:true|boolean)\b)/g),
      ...matches(file, "code", /\binsecureHTTPParser\b(?!\s*:\s*false\b)/g),
      ...matches(file, "code", /\bcheckServerIdentity\s*[:=]\s*\(\s*\)\s*=>\s*(?:undefined|\{\s*\})/g),
      ...matches(file, "withStrings", /\bNODE_TLS_REJECT_UNAUTHORIZED\b["'`\]\s]*(?::|=(?!=))/g),
    ].map((problem) => `${problem}: verification is never switched off`),
  );

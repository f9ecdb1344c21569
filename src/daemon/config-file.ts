import { z } from "zod";
import { parseDuration } from "../policy/duration.ts";
import { formatPath, type PolicyProblem } from "../policy/problem.ts";
import type { YamlFile } from "../providers/yaml-document.ts";
import { parseIpPort, parseLocalName, parseProxyUrl } from "./config-address.ts";
import { anchorSchema } from "./config-anchor.ts";
import { backupSchema } from "./config-backup.ts";
import { limitsSchema } from "./config-limits.ts";
import { duration, path, text } from "./config-value.ts";
import { unlockEntry } from "./unlock-config.ts";

/** Longest time that usage may be kept, in days. */
const MAX_KEEP_DAYS = 3650;

/** How often a key may be checked. */
const MIN_CHECK_MS = 60_000;
const MAX_CHECK_MS = 7 * 86_400_000;

function days(value: string): number {
  const match = /^([1-9][0-9]{0,3})d$/.exec(value);
  const count = Number(match?.[1]);
  if (!(count <= MAX_KEEP_DAYS))
    throw new Error(`"${value.slice(0, 40)}" is not 1d to ${MAX_KEEP_DAYS}d; write whole days, such as 90d`);
  return count;
}

/** Null: off. */
function checkInterval(value: string): number | null {
  if (value === "off") return null;
  const ms = parseDuration(value);
  if (ms < MIN_CHECK_MS || ms > MAX_CHECK_MS) throw new Error(`${value} is out of range; write 1m to 7d, or off`);
  return ms;
}

const address = text(parseIpPort);
const upstreamHost = z.strictObject({ address, ca: path.optional() });

const schema = z.strictObject({
  version: z.literal(1),
  data: path.default("./data"),
  listen: z
    .strictObject({
      proxy: address.prefault("127.0.0.1:8787"),
      proxySocket: path.nullable().default(null),
      admin: address.nullable().default(null),
      metrics: address.nullable().prefault("127.0.0.1:9477"),
    })
    .prefault({}),
  localNames: z.array(text(parseLocalName)).max(100).default(["localhost", "sidekey"]),
  unlock: z.array(unlockEntry).min(1, "is empty; name at least one way to unlock").optional(),
  policy: path.nullable().default(null),
  providers: path.nullable().default(null),
  prices: path.nullable().default(null),
  upstream: z
    .strictObject({
      hosts: z.record(z.string(), upstreamHost).prefault({}),
      proxy: text(parseProxyUrl).nullable().default(null),
      proxyPasswordFile: path.optional(),
    })
    .prefault({}),
  monitor: z.strictObject({ check: text(checkInterval).prefault("6h") }).prefault({}),
  secrets: z.strictObject({ idle: duration(0, 3_600_000).prefault("5s") }).prefault({}),
  usage: z.strictObject({ flush: duration(50, 60_000).prefault("1s"), keep: text(days).prefault("90d") }).prefault({}),
  backup: backupSchema(duration(60_000, 30 * 86_400_000).prefault("24h")).optional(),
  log: z
    .strictObject({
      level: z.enum(["debug", "info", "warn", "error"]).default("info"),
      format: z.enum(["json", "pretty"]).default("json"),
    })
    .prefault({}),
  demo: z.boolean().default(false),
  limits: limitsSchema.prefault({}),
  drain: duration(0, 600_000).prefault("10s"),
  anchor: anchorSchema(duration(1_000, 86_400_000).prefault("1m"), text).optional(),
});

/** daemon.yaml as written, with defaults, durations in milliseconds and addresses parsed. */
export type ConfigFile = z.output<typeof schema>;

export type Validated = { ok: true; file: ConfigFile } | { ok: false; problems: PolicyProblem[] };

/** @param value what the YAML says; null (an empty file, or none) gives the defaults */
export function validateConfigFile(value: unknown, lineOf: YamlFile["lineOf"]): Validated {
  const result = schema.safeParse(value ?? { version: 1 });
  if (result.success) return { ok: true, file: result.data };
  return { ok: false, problems: result.error.issues.flatMap((issue) => problemsOf(issue, lineOf)) };
}

function problemsOf(issue: z.core.$ZodIssue, lineOf: YamlFile["lineOf"]): PolicyProblem[] {
  const at = issue.path.filter((step) => typeof step !== "symbol");
  if (issue.code !== "unrecognized_keys") return [problemAt(at, sentenceOf(issue), lineOf)];
  return issue.keys.map((key) => {
    const known = knownKeys(at);
    return problemAt([...at, key], `is not a known key${known === "" ? "" : `; known here: ${known}`}`, lineOf);
  });
}

function problemAt(at: (string | number)[], message: string, lineOf: YamlFile["lineOf"]): PolicyProblem {
  return { ...lineOf(at), path: formatPath(at), message };
}

function sentenceOf(issue: z.core.$ZodIssue): string {
  if (issue.code === "custom") return issue.message;
  if (issue.code === "invalid_value") return `must be ${issue.values.map(String).join(" or ")}`;
  if (issue.code === "invalid_type") {
    return issue.input === undefined && issue.message.endsWith("received undefined")
      ? `is missing; write a ${EXPECTED[issue.expected] ?? issue.expected}`
      : `must be a ${EXPECTED[issue.expected] ?? issue.expected}`;
  }
  if (issue.code === "too_small" && issue.origin !== "string" && issue.origin !== "array") {
    return `is too small; write ${issue.minimum} or more`;
  }
  if (issue.code === "too_big") return `is too large; write ${issue.maximum} or less`;
  return issue.message;
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: "text value; a number with a unit is text, such as 5s",
  int: "whole number",
  boolean: "yes-or-no value: true or false",
  object: "map of keys",
  record: "map of keys",
  array: "list",
  tuple: "list",
};

/** Names the keys beside an unknown one, because it is usually a misspelling of one of them. */
function knownKeys(at: readonly (string | number)[]): string {
  let here: unknown = bare(schema);
  for (const step of at) {
    if (here instanceof z.ZodArray) here = bare(here.element);
    else here = here instanceof z.ZodObject ? bare(here.shape[String(step)]) : undefined;
  }
  return here instanceof z.ZodObject ? Object.keys(here.shape).join(", ") : "";
}

/** A schema without what says that it may be missing or becomes something else. */
function bare(schema: unknown): unknown {
  let here = schema;
  for (;;) {
    if (here instanceof z.ZodPrefault || here instanceof z.ZodOptional || here instanceof z.ZodDefault)
      here = here.unwrap();
    else if (here instanceof z.ZodPipe) here = here.in;
    else return here;
  }
}

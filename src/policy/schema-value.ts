import { z } from "zod";
import { compileGlob } from "../providers/glob.ts";
import { cidrCovers, parseCidr } from "./address.ts";
import { DURATION_PATTERN, parseDuration, parseRate, RATE_PATTERN } from "./duration.ts";
import { parseAuthority } from "./host.ts";

/** The kinds of value that policy.yaml is made of; schema.ts puts them together. */

/** Longest timeout, in milliseconds; Node's timers end at 24.8 days. */
const MAX_TIMEOUT_MS = 86_400_000;

/** A string that `parse` accepts. `parse` throws sentences, which become the problem; `pattern` is for editors. */
export function parsed(what: string, parse: (text: string) => unknown, pattern?: RegExp) {
  const text = z.string({ error: ({ input }) => notText(input, what) }).superRefine((value, context) => {
    try {
      parse(value);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      // Not to be continued: checks of the surrounding map may rely on this text being good.
      context.addIssue({ code: "custom", message, continue: false });
    }
  });
  return pattern === undefined
    ? text.meta({ description: what })
    : text.meta({ description: what, pattern: pattern.source });
}

function notText(input: unknown, what: string): string {
  if (input === undefined) return `is missing; write ${what}`;
  if (typeof input === "number") return numberProblem(input, what);
  return `is not text; write ${what}`;
}

function numberProblem(input: number, what: string): string {
  if (what === RATE) return `${input} has no unit; write ${input}/min`;
  if (what === DURATION) return `${input} has no unit; write ${input}s or ${input}ms`;
  return `${input} is a number; write ${what}, in quotes if need be`;
}

const RATE = "a rate, such as 300/min, 5/s or 100/15s";
const DURATION = "a duration, such as 500ms, 2s or 5m";

export function named(what: string, pattern: RegExp) {
  return parsed(
    what,
    (text) => {
      if (!pattern.test(text)) throw new Error(`"${text.slice(0, 80)}" is not a name; write ${what}`);
    },
    pattern,
  );
}

/** Also the first segment of a base URL, hence without dots. */
export const routeId = named("lower-case letters, digits and -, such as fmp", /^[a-z0-9][a-z0-9-]{0,62}$/);
export const objectName = named(
  "lower-case letters, digits, . _ and -, such as fmp-main",
  /^[a-z0-9][a-z0-9._-]{0,62}$/,
);
export const cidr = parsed("an address range, such as 10.20.0.0/16", parseCidr);
export const privateRange = parsed("a non-public range, such as 10.0.0.0/8", checkPrivateRange);
export const rate = parsed(RATE, parseRate, RATE_PATTERN);
export const glob = parsed("a path pattern, such as /stable/**", compileGlob);

export function duration(min: number, max: number, maxText: string) {
  return parsed(
    DURATION,
    (text) => {
      const ms = parseDuration(text);
      if (ms < min) throw new Error(`${text} is too short; write 1ms at least`);
      if (ms > max) throw new Error(`${text} is too long; write ${maxText} at most`);
    },
    DURATION_PATTERN,
  );
}

export const timeout = duration(1, MAX_TIMEOUT_MS, "1d");

export const host = parsed("a host name, such as api.openai.com or api.openai.com:8443", (text) => {
  const authority = parseAuthority(text, 443);
  if (!authority.ok) throw new Error(`"${text.slice(0, 80)}": ${authority.reason}`);
  if (authority.kind !== "name") throw new Error(`"${text}" is an address; providers are reached by name`);
});

export const method = parsed(
  "an upper-case method, such as GET",
  (text) => {
    if (!/^[A-Z]{1,20}$/.test(text)) throw new Error(`"${text.slice(0, 40)}" is not a method; ${methodHint(text)}`);
    if (REFUSED_METHODS.has(text)) throw new Error(`${text} is never forwarded; remove it`);
  },
  /^[A-Z]{1,20}$/,
);

/** Ranges that `private` may open; opening public or reserved space would mean nothing, or everything. */
const OPENABLE = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
].map(parseCidr);

function checkPrivateRange(text: string): void {
  const range = parseCidr(text);
  if (OPENABLE.some((outer) => cidrCovers(outer, range))) return;
  const allowed = OPENABLE.map((outer) => outer.text).join(", ");
  throw new Error(`${text} is not inside a private range; write a part of ${allowed}`);
}

/** TRACE and TRACK answer with the request, key included; CONNECT has no meaning inside a route. */
const REFUSED_METHODS: ReadonlySet<string> = new Set(["TRACE", "TRACK", "CONNECT"]);

function methodHint(text: string): string {
  const upper = text.toUpperCase();
  return /^[A-Z]{1,20}$/.test(upper) ? `write ${upper}` : "write one such as GET";
}

export function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, {
    error: ({ input }) => `${JSON.stringify(input) ?? "nothing"} is not one of ${values.join(", ")}`,
  });
}

export function count(max: number) {
  const message = `must be a whole number from 1 to ${max}`;
  return z.int({ error: message }).min(1, message).max(max, message);
}

export function flag() {
  return z.boolean({ error: "must be true or false" });
}

/** A list without repetitions. An empty one is refused: it could be read as "nothing" and as "everything". */
export function list<T extends z.ZodType>(item: T, what: string) {
  return z
    .array(item, { error: ({ input }) => `${input === undefined ? "is missing" : "is not a list"}; write ${what}` })
    .min(1, `is empty; write ${what}, or leave the key out where it is optional`)
    .superRefine((items, context) => {
      const seen = new Set<string>();
      for (const [index, entry] of items.entries()) {
        const key = JSON.stringify(entry);
        if (seen.has(key)) context.addIssue({ code: "custom", path: [index], message: "is listed twice; remove one" });
        seen.add(key);
      }
    });
}

export function object<T extends z.core.$ZodLooseShape>(shape: T, what: string) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "invalid_type" ? `must be a map: ${what}` : undefined),
  });
}

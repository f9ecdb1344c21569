import { z } from "zod";
import { compileGlob } from "../providers/glob.ts";
import { cidrCovers, parseCidr } from "./address.ts";
import { DURATION_PATTERN, MAX_RATE_COUNT, parseDuration, parseRate, RATE_PATTERN } from "./duration.ts";
import { parseAuthority } from "./host.ts";

/**
 * policy.yaml as it is written. Every leaf is checked here, so that one load reports all of them together; what needs
 * the catalog or the vault is checked in compile.ts.
 */

/** Longest wait for a limit, in milliseconds; a client's own timeout is rarely longer. */
const MAX_WAIT_MS = 10 * 60_000;
/** Longest timeout, in milliseconds; Node's timers end at 24.8 days. */
const MAX_TIMEOUT_MS = 86_400_000;

/** A string that `parse` accepts. `parse` throws sentences, which become the problem; `pattern` is for editors. */
function parsed(what: string, parse: (text: string) => unknown, pattern?: RegExp) {
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

function named(what: string, pattern: RegExp) {
  return parsed(
    what,
    (text) => {
      if (!pattern.test(text)) throw new Error(`"${text.slice(0, 80)}" is not a name; write ${what}`);
    },
    pattern,
  );
}

/** Also the first segment of a base URL, hence without dots. */
const routeId = named("lower-case letters, digits and -, such as fmp", /^[a-z0-9][a-z0-9-]{0,62}$/);
const objectName = named("lower-case letters, digits, . _ and -, such as fmp-main", /^[a-z0-9][a-z0-9._-]{0,62}$/);
const cidr = parsed("an address range, such as 10.20.0.0/16", parseCidr);
const privateRange = parsed("a non-public range, such as 10.0.0.0/8", checkPrivateRange);
const rate = parsed(RATE, parseRate, RATE_PATTERN);
const glob = parsed("a path pattern, such as /stable/**", compileGlob);

function duration(min: number, max: number, maxText: string) {
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

const timeout = duration(1, MAX_TIMEOUT_MS, "1d");

const host = parsed("a host name, such as api.openai.com or api.openai.com:8443", (text) => {
  const authority = parseAuthority(text, 443);
  if (!authority.ok) throw new Error(`"${text.slice(0, 80)}": ${authority.reason}`);
  if (authority.kind !== "name") throw new Error(`"${text}" is an address; providers are reached by name`);
});

const method = parsed(
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

function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, {
    error: ({ input }) => `${JSON.stringify(input) ?? "nothing"} is not one of ${values.join(", ")}`,
  });
}

function count(max: number) {
  const message = `must be a whole number from 1 to ${max}`;
  return z.int({ error: message }).min(1, message).max(max, message);
}

function flag() {
  return z.boolean({ error: "must be true or false" });
}

/** A list without repetitions. An empty one is refused: it could be read as "nothing" and as "everything". */
function list<T extends z.ZodType>(item: T, what: string) {
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

function object<T extends z.core.$ZodLooseShape>(shape: T, what: string) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "invalid_type" ? `must be a map: ${what}` : undefined),
  });
}

const trust = z.union([parsed("loopback, or an address range", checkTrust), list(cidr, "a list of address ranges")], {
  error: "must be loopback or a list of address ranges",
});

function checkTrust(text: string): void {
  if (text !== "loopback") parseCidr(text);
}

const client = object(
  {
    token: flag().optional(),
    from: list(cidr, "a list of address ranges, such as [10.20.0.0/16]").optional(),
    trust: trust.optional(),
    actsFor: oneOf(["users"]).optional(),
  },
  "{ token: true }",
).superRefine((value, context) => {
  if (value.token !== true && value.trust === undefined) {
    context.addIssue({ code: "custom", message: "cannot be told from anybody else; write token: true" });
  }
});

const limit = object(
  {
    name: routeId,
    per: list(oneOf(["client", "credential", "provider", "route", "user"]), "what it counts by, such as [credential]"),
    requests: rate.optional(),
    concurrent: count(MAX_RATE_COUNT).optional(),
    burst: count(MAX_RATE_COUNT).optional(),
    wait: duration(0, MAX_WAIT_MS, "10m").optional(),
    mode: oneOf(["enforce", "shadow"]).optional(),
  },
  "{ name: plan, per: [credential], requests: 300/min }",
).superRefine((value, context) => {
  const refuse = (message: string, ...path: string[]) => context.addIssue({ code: "custom", path, message });
  if ((value.requests === undefined) === (value.concurrent === undefined)) {
    refuse("needs exactly one of requests and concurrent; write requests: 300/min or concurrent: 20");
    return;
  }
  if (value.burst === undefined) return;
  if (value.requests === undefined) refuse("only goes with requests; remove it", "burst");
  else if (value.burst > parseRate(value.requests).count) {
    refuse(`${value.burst} is more than ${value.requests} allows in its period; write a smaller burst`, "burst");
  }
});

const weighted = object({ name: objectName, weight: count(1000) }, "{ name: openai-spare, weight: 2 }");

const credentials = z.union(
  [
    z.array(objectName),
    object(
      {
        use: list(
          z.union([objectName, weighted], { error: "must be a name, or { name: openai-spare, weight: 2 }" }),
          "a list of credential names",
        ).optional(),
        choose: oneOf(["failover", "weighted", "round-robin"]).optional(),
        owner: oneOf(["user"]).optional(),
        else: objectName.optional(),
      },
      "{ use: [openai-main], choose: failover }",
    ).superRefine(checkCredentials),
  ],
  { error: "must be a list of names, or { use: [openai-main], choose: failover }" },
);

function checkCredentials(
  value: {
    use?: unknown[] | undefined;
    choose?: string | undefined;
    owner?: string | undefined;
    else?: string | undefined;
  },
  context: z.RefinementCtx,
): void {
  const refuse = (message: string, ...path: (string | number)[]) => context.addIssue({ code: "custom", path, message });
  if ((value.use === undefined) === (value.owner === undefined)) refuse("needs exactly one of use and owner: user");
  if (value.else !== undefined && value.owner === undefined) refuse("only goes with owner: user; remove it", "else");
  if (value.choose !== undefined && value.use === undefined) refuse("only goes with use; remove it", "choose");
  for (const [index, entry] of (value.use ?? []).entries()) {
    if (typeof entry !== "string" && value.choose !== "weighted") {
      refuse("weights only go with choose: weighted; write the name alone", "use", index);
    }
  }
}

const allow = object(
  {
    methods: list(method, "methods, such as [GET]").optional(),
    paths: list(glob, "path patterns, such as [/stable/**]").optional(),
  },
  "{ methods: [GET], paths: [/stable/**] }",
).superRefine((value, context) => {
  if (value.methods !== undefined || value.paths !== undefined) return;
  context.addIssue({ code: "custom", message: "says neither methods nor paths; to allow everything leave allow out" });
});

const route = object(
  {
    provider: routeId,
    environment: routeId.optional(),
    hosts: list(host, "host names").optional(),
    credentials,
    clients: list(objectName, "the clients that may use this route"),
    allow: list(allow, "rules, such as { methods: [GET], paths: [/stable/**] }").optional(),
    limits: list(limit, "limits").optional(),
    response: object(
      { setCookie: oneOf(["strip", "pass"]).optional(), authenticate: oneOf(["strip", "pass"]).optional() },
      "{ setCookie: strip }",
    ).optional(),
    timeouts: object(
      { connect: timeout.optional(), headers: timeout.optional(), idle: timeout.optional() },
      "{ connect: 5s, headers: 300s, idle: 300s }",
    ).optional(),
    private: list(privateRange, "non-public ranges that this route may reach, such as [10.0.0.0/8]").optional(),
    upstream: oneOf(["https", "http"]).optional(),
    keepAlive: flag().optional(),
  },
  "{ provider: fmp, credentials: [fmp-main], clients: [app] }",
).superRefine(({ limits = [] }, context) => {
  const seen = new Set<string>();
  for (const [index, { name }] of limits.entries()) {
    const path = ["limits", index, "name"];
    if (seen.has(name)) context.addIssue({ code: "custom", path, message: `"${name}" is used twice; rename one` });
    seen.add(name);
  }
});

export const policyFile = object(
  {
    version: z.literal(1, { error: "must be 1, the only version there is" }),
    unmatched: oneOf(["deny", "tunnel"]).optional(),
    clients: z.record(objectName, client, { error: "must be a map of clients, such as { app: { token: true } }" }),
    routes: z.record(routeId, route, { error: "must be a map of routes, such as { fmp: { provider: fmp, ... } }" }),
  },
  "version, clients and routes",
);

export type PolicyFile = z.infer<typeof policyFile>;
export type ClientFile = PolicyFile["clients"][string];
export type RouteFile = PolicyFile["routes"][string];
export type LimitFile = NonNullable<RouteFile["limits"]>[number];

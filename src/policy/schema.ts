import { z } from "zod";
import { parseCidr } from "./address.ts";
import { limit } from "./schema-limit.ts";
import {
  cidr,
  count,
  duration,
  flag,
  glob,
  host,
  list,
  method,
  object,
  objectName,
  oneOf,
  parsed,
  privateRange,
  routeId,
  timeout,
} from "./schema-value.ts";

/**
 * policy.yaml as it is written. Every leaf is checked here, so that one load reports all of them together; what needs
 * the catalog or the vault is checked in compile.ts.
 */

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

const response = object(
  {
    scrub: oneOf(["on", "off"]).optional(),
    setCookie: oneOf(["strip", "pass"]).optional(),
    authenticate: oneOf(["strip", "pass"]).optional(),
    tokens: oneOf(["strip", "pass"]).optional(),
    rateLimit: oneOf(["on", "off"]).optional(),
  },
  "{ scrub: on, setCookie: strip }",
);

/** Tries in all, the first one included. */
const MAX_ATTEMPTS = 5;
/** Longest time within which another try may begin, in milliseconds. */
const MAX_RETRY_MS = 120_000;

const retry = object(
  {
    attempts: count(MAX_ATTEMPTS).optional(),
    on: list(oneOf(["connect", "refused", "limited", "unavailable"]), "reasons, such as [refused, limited]").optional(),
    within: duration(1, MAX_RETRY_MS, "2m").optional(),
  },
  "{ attempts: 3, on: [refused, limited], within: 10s }",
);

const route = object(
  {
    provider: routeId,
    environment: routeId.optional(),
    hosts: list(host, "host names").optional(),
    credentials,
    clients: list(objectName, "the clients that may use this route"),
    allow: list(allow, "rules, such as { methods: [GET], paths: [/stable/**] }").optional(),
    limits: list(limit, "limits").optional(),
    response: response.optional(),
    retry: retry.optional(),
    pace: oneOf(["on", "off"]).optional(),
    usage: object({ ask: oneOf(["on", "off"]).optional() }, "{ ask: on }").optional(),
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

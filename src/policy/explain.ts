import { NANO_PER_USD } from "./amount.ts";
import type { LimitSpec, PolicySnapshot, Route } from "./compile.ts";
import { type Decision, type DenyReason, decide, type PolicyQuery } from "./decide.ts";
import { authorityKey } from "./host.ts";
import { rulesOf } from "./rank.ts";

export type StepRule = "host" | "port" | "client" | "method" | "path" | "credential" | "limit";

export interface ExplanationStep {
  readonly rule: StepRule;
  /** False for the step that denied; the steps behind it are left out. */
  readonly ok: boolean;
  /** One sentence for an operator. */
  readonly text: string;
}

export interface Explanation {
  /** What `decide` says, as it says it. */
  readonly decision: Decision;
  readonly steps: readonly ExplanationStep[];
}

/** The order in which `decide` looks at things, and which denial belongs to which. */
const RULES: readonly { readonly rule: StepRule; readonly denials: readonly DenyReason[] }[] = [
  { rule: "host", denials: ["host_not_in_policy"] },
  { rule: "port", denials: ["port_not_in_policy"] },
  { rule: "client", denials: ["client_not_on_route"] },
  { rule: "path", denials: ["path_ambiguous", "path_not_on_route"] },
  { rule: "method", denials: ["trace_refused", "method_not_on_route"] },
];

/** Says rule by rule why `decide` allows or denies. The decision is `decide`'s own, never worked out a second time. */
export function explain(policy: PolicySnapshot, query: PolicyQuery): Explanation {
  const decision = decide(policy, query);
  const asked = query.phase === "connect" ? RULES.slice(0, 3) : RULES;
  const steps: ExplanationStep[] = [];
  for (const { rule, denials } of asked) {
    if (!decision.allow && denials.includes(decision.reason)) {
      steps.push({ rule, ok: false, text: DENIALS[decision.reason](policy, query) });
      return { decision, steps };
    }
    // TRACE is refused before anything else is looked at, so nothing else may be claimed.
    if (decision.allow || decision.reason !== "trace_refused") {
      steps.push({ rule, ok: true, text: passed(rule, query, decision) });
    }
  }
  if (decision.allow && query.phase === "request") steps.push(...afterAllow(decision.route));
  return { decision, steps };
}

function passed(rule: StepRule, query: PolicyQuery, decision: Decision): string {
  if (rule === "host") return `${query.host} is named by the policy`;
  if (rule === "port") return `port ${query.port} is named with it`;
  if (rule === "client") {
    return query.client === null ? "the client has to show its token inside" : `${query.client} may use a route there`;
  }
  const route = decision.route === null ? "a route" : `route ${decision.route.id}`;
  if (rule === "method") return `${query.method} is allowed by ${route}`;
  return `${query.path} is on ${route}`;
}

const DENIALS: Readonly<Record<DenyReason, (policy: PolicySnapshot, query: PolicyQuery) => string>> = {
  host_not_in_policy: (_policy, { host }) =>
    `no route names ${host}; add it to the hosts of a route, or check the spelling`,
  port_not_in_policy: (policy, { host, port }) => {
    const named = [...policy.byAuthority.keys()].filter((key) => key.slice(0, key.lastIndexOf(":")) === host);
    return `no route names port ${port} of ${host}; named is ${named.join(", ")}`;
  },
  client_not_on_route: (policy, query) => {
    const routes = routesAt(policy, query).map(({ id }) => id);
    return `${query.client ?? "nobody"} is in the clients of none of ${routes.join(", ")}`;
  },
  trace_refused: (_policy, { method }) => `${method} is never forwarded: its answer would contain the key`,
  method_not_on_route: (policy, query) => `${query.method} is not among ${allowText(policy, query)}`,
  path_not_on_route: (policy, query) => `${query.path} is not among ${allowText(policy, query)}`,
  path_ambiguous: (_policy, { path }) =>
    `${path} could be read as another path; send it without dot segments and encoded separators`,
};

function routesAt(policy: PolicySnapshot, { host, port }: PolicyQuery): readonly Route[] {
  return policy.byAuthority.get(authorityKey(host, port)) ?? [];
}

function allowText(policy: PolicySnapshot, query: PolicyQuery): string {
  const mine = routesAt(policy, query).filter(({ clients }) => query.client !== null && clients.has(query.client));
  return mine
    .flatMap((route) => {
      return rulesOf(route).map(({ methods, paths }) => {
        const what = methods === null ? "any method" : [...methods].join(" ");
        const where = paths === null ? "any path" : paths.map(({ source }) => source).join(" ");
        return `${route.id}: ${what} on ${where}`;
      });
    })
    .join("; ");
}

function afterAllow(route: Route): ExplanationStep[] {
  return [
    { rule: "credential", ok: true, text: credentialText(route) },
    ...route.limits.map((spec): ExplanationStep => ({ rule: "limit", ok: true, text: limitText(spec) })),
  ];
}

function credentialText({ credentials, provider }: Route): string {
  const { use, choose, owner } = credentials;
  if (owner === "user") {
    const otherwise = credentials.else === null ? "denied without one" : `else ${credentials.else}`;
    return `the user's own credential of ${provider.id}, ${otherwise}`;
  }
  if (use.length === 0) return `${provider.id} takes no key`;
  const names = use.map(({ name, weight }) => (choose === "weighted" ? `${name} (weight ${weight})` : name));
  return use.length === 1 ? names.join("") : `${names.join(", ")} by ${choose}`;
}

function limitText(spec: LimitSpec): string {
  const { name, per, waitMs, mode } = spec;
  const wait = waitMs === 0 ? "" : `, waits up to ${waitMs} ms`;
  return `${name}: ${sizeText(spec)} per ${per.join(" and ")}${wait}${mode === "shadow" ? ", only reported" : ""}`;
}

function sizeText({ kind, count, periodMs, burst, budget }: LimitSpec): string {
  if (kind === "concurrent") return `${count} at once`;
  if (kind === "requests") return `${count} per ${periodMs / 1000} s, ${burst} in a row`;
  const amount = kind === "tokens" ? `${count} tokens` : `${count / NANO_PER_USD} USD`;
  const calendar = budget?.calendar;
  const period = calendar ? `calendar ${calendar.unit} (${calendar.zone})` : `${periodMs / 1000} s`;
  return `${amount} per ${period}${budget?.strict ? ", never over" : ""}${budget?.unpriced === "deny" ? ", unpriced calls denied" : ""}`;
}

import { Secret } from "../../secret.ts";
import type { Glob } from "../glob.ts";
import type { AuthRule, OAuth2Auth, Provider, Template } from "../schema.ts";
import { encodeBasic, planBasic } from "./basic.ts";
import { escapeJson, planBodyJson } from "./body-json.ts";
import { copyForHeader, planHeader } from "./header.ts";
import { planNone } from "./none.ts";
import { planOAuth2 } from "./oauth2.ts";
import { encodePercent, planQuery } from "./query.ts";

/** How secret fields become the bytes that are written in one place. */
export type Rendering =
  | { readonly encoding: "raw" | "percent" | "json"; readonly fields: readonly string[] }
  | {
      readonly encoding: "basic";
      readonly fields: readonly string[];
      readonly user: Template;
      readonly password: Template;
    };

/** Where the secrets of one request go. Holds names only, never a value. */
export interface InjectionPlan {
  /** `prefix` and `suffix` are literal text around the rendered bytes. */
  readonly headers: readonly HeaderInjection[];
  readonly query: readonly QueryInjection[];
  readonly body: { readonly pointer: string; readonly render: Rendering } | null;
  /** Set when what is written is an access token that has to be got first. */
  readonly token?: OAuth2Auth;
}

export interface HeaderInjection {
  readonly name: string;
  readonly prefix: string;
  readonly suffix: string;
  readonly render: Rendering;
}

export interface QueryInjection {
  readonly name: string;
  readonly render: Rendering;
}

/** What a request is when its auth rule is chosen: canonical host without port, raw path without query string. */
export interface AuthTarget {
  readonly host: string;
  readonly method: string;
  readonly path: string;
}

const NO_AUTH: AuthRule = Object.freeze({ scheme: "none" });

const plans = new WeakMap<AuthRule, InjectionPlan>();

/**
 * The first rule whose hosts, methods and paths match. When none does, nothing is injected: a key is written only
 * where the provider's file says that it belongs.
 */
export function selectAuth(provider: Pick<Provider, "auth">, target: AuthTarget): AuthRule {
  for (const rule of provider.auth) if (applies(rule, target)) return rule;
  return NO_AUTH;
}

/** The plan of a rule; computed once, frozen, and the same object ever after. */
export function planFor(rule: AuthRule): InjectionPlan {
  const known = plans.get(rule);
  if (known) return known;
  const plan = freezePlan(computePlan(rule));
  plans.set(rule, plan);
  return plan;
}

/**
 * Renders the exact bytes that the splice writes, in a Buffer of their own; the caller wipes the result.
 * @throws Error that names the field when one is missing, or when its bytes cannot stand in that place.
 */
export function renderSecret(rendering: Rendering, fields: ReadonlyMap<string, Secret>): Secret {
  if (rendering.encoding === "basic") return encodeBasic(rendering.user, rendering.password, fields);
  const [name = ""] = rendering.fields;
  return fieldNamed(fields, name).use((bytes) => {
    if (rendering.encoding === "percent") return Secret.adopt(encodePercent(bytes));
    if (rendering.encoding === "json") return Secret.adopt(escapeJson(bytes));
    return Secret.adopt(copyForHeader(bytes, name));
  });
}

function fieldNamed(fields: ReadonlyMap<string, Secret>, name: string): Secret {
  const secret = fields.get(name);
  if (!secret) throw new Error(`credential has no field "${name}"; add a version that has it`);
  return secret;
}

function applies(rule: AuthRule, { host, method, path }: AuthTarget): boolean {
  if (rule.hosts && !namesHost(rule.hosts, host)) return false;
  if (rule.methods && !rule.methods.has(method)) return false;
  return !rule.paths || rule.paths.some((glob: Glob) => glob.matches(path));
}

function namesHost(hosts: ReadonlySet<string>, host: string): boolean {
  if (hosts.has(host)) return true;
  const dot = host.indexOf(".");
  return dot !== -1 && hosts.has(`*${host.slice(dot)}`);
}

function computePlan(rule: AuthRule): InjectionPlan {
  switch (rule.scheme) {
    case "header":
      return planHeader(rule);
    case "query":
      return planQuery(rule);
    case "basic":
      return planBasic(rule);
    case "body-json":
      return planBodyJson(rule);
    case "oauth2":
      return planOAuth2(rule);
    case "none":
      return planNone();
  }
}

function freezePlan(plan: InjectionPlan): InjectionPlan {
  for (const { render } of [...plan.headers, ...plan.query]) freezeRendering(render);
  if (plan.body) freezeRendering(plan.body.render);
  for (const injection of [...plan.headers, ...plan.query, plan.body]) Object.freeze(injection);
  Object.freeze(plan.headers);
  Object.freeze(plan.query);
  return Object.freeze(plan);
}

function freezeRendering(rendering: Rendering): void {
  Object.freeze(rendering.fields);
  Object.freeze(rendering);
}

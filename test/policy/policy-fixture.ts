import { compilePolicy, type KnownObjects, type PolicySnapshot } from "../../src/policy/compile.ts";
import { parsePolicy } from "../../src/policy/parse.ts";
import { formatProblem, PolicyError } from "../../src/policy/problem.ts";
import { type Provider, parseProvider } from "../../src/providers/schema.ts";

function provider(
  id: string,
  environments: string,
  auth = "[{ scheme: header, headers: { x-key: '{key}' } }]",
): Provider {
  const keyless = auth.includes("none");
  return parseProvider(
    `id: ${id}
name: ${id}
category: demo
docs: https://docs.p.test/
sources: ["made up for tests (D)"]
environments: ${environments}
fields: ${keyless ? "{}" : "{ key: { label: Key, secret: true } }"}
auth: ${auth}
`,
    `${id}.yaml`,
  );
}

/** A small catalog: one provider per shape that the policy treats differently. */
export const CATALOG = {
  providers: new Map(
    [
      provider("fmp", "{ live: { hosts: [financialmodelingprep.com] } }"),
      provider("openai", "{ live: { hosts: [api.openai.com] }, eu: { hosts: [eu.api.openai.com] } }"),
      provider(
        "p",
        "{ live: { hosts: [api.p.test, data.p.test, 'api.p.test:8443'] }, paper: { hosts: [paper.p.test] } }",
      ),
      provider("wild", "{ live: { hosts: ['*.w.test'] } }"),
      provider("local", "{ gateway: { hosts: ['localhost:5000'] } }", "[{ scheme: none }]"),
    ].map((entry) => [entry.id, entry]),
  ),
};

export const KNOWN: KnownObjects = {
  credentials: new Map([
    ["p-main", { provider: "p", environment: "live" }],
    ["p-spare", { provider: "p", environment: "live" }],
    ["p-paper", { provider: "p", environment: "paper" }],
    ["w-main", { provider: "wild", environment: "live" }],
    ["fmp-main", { provider: "fmp", environment: "live" }],
    ["openai-main", { provider: "openai", environment: "live" }],
    ["openai-spare", { provider: "openai", environment: "live" }],
  ]),
  clients: new Set(["app", "batch", "api", "backend"]),
};

export function compiled(yaml: string): { snapshot: PolicySnapshot; warnings: string[] } {
  const { snapshot, warnings } = compilePolicy(parsePolicy(yaml, "policy.yaml"), CATALOG, KNOWN, "r1");
  return { snapshot, warnings: warnings.map((problem) => formatProblem("policy.yaml", problem)) };
}

/** The lines that an operator would read; empty when the policy is good. */
export function problemsOf(yaml: string): string[] {
  try {
    compiled(yaml);
    return [];
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.message.split("\n");
  }
}

/** A policy with two clients and the given routes (indented by two). */
export function withRoutes(routes: string): string {
  return `version: 1\nclients:\n  app: { token: true }\n  batch: { token: true }\nroutes:\n${routes}`;
}

import assert from "node:assert/strict";
import type { Route } from "../../../src/policy/compile.ts";
import type { Credential } from "../../../src/store/credentials.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";

export const NOBODY = { client: "app", user: null };
export const AUTHORITY = "api.p.test:443";

/** A stored credential with id `id-<name>`, whose version 2 is the current one. */
export function credential(name: string, changes: Partial<Credential> = {}): Credential {
  return {
    id: `id-${name}`,
    name,
    provider: "p",
    environment: "live",
    category: "demo",
    owner: { kind: "service" },
    hosts: ["api.p.test"],
    fields: ["key"],
    state: "enabled",
    expiresAt: null,
    createdAt: 0,
    metadata: {},
    versions: [
      { number: 1, stage: "previous", createdAt: 0, fingerprint: "0" },
      { number: 2, stage: "current", createdAt: 0, fingerprint: "1" },
      { number: 3, stage: "pending", createdAt: 0, fingerprint: "2" },
    ],
    ...changes,
  } as Credential;
}

/** A route of provider p with these credentials, as policy.yaml writes them. */
export function routeWith(credentials: string): Route {
  const clients = "clients: [app]";
  const route = compiled(withRoutes(`  p: { provider: p, credentials: ${credentials}, ${clients} }\n`)).snapshot
    .routes[0];
  assert.ok(route);
  return route;
}

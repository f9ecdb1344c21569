import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { authorityKey } from "../../policy/host.ts";
import type { Carriers } from "../../providers/schema.ts";

const cached = new WeakMap<readonly Route[], Carriers>();

/**
 * Every place where any provider behind this authority would take a key; that is also where a client
 * may show its token. Null for a host that no route names.
 */
export function authorityCarriers(policy: PolicySnapshot, host: string, port: number): Carriers | null {
  const routes = policy.byAuthority.get(authorityKey(host, port));
  if (!routes) return null;
  let carriers = cached.get(routes);
  if (!carriers) {
    carriers = union(routes.map((route) => route.provider.carriers));
    cached.set(routes, carriers);
  }
  return carriers;
}

function union(all: readonly Carriers[]): Carriers {
  const [only, ...others] = all;
  if (only && others.length === 0) return only;
  return {
    headers: new Set(all.flatMap((one) => [...one.headers])),
    query: new Set(all.flatMap((one) => [...one.query])),
    body: [...new Set(all.flatMap((one) => one.body))],
    cookies: new Set(all.flatMap((one) => [...one.cookies])),
    prefixes: [...new Set(all.flatMap((one) => one.prefixes ?? []))],
  };
}

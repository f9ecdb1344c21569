import type { Provider } from "../providers/schema.ts";
import type { YamlPath } from "../providers/yaml-document.ts";
import type { RouteCredentials, WeightedCredential } from "./compile.ts";
import type { RouteContext } from "./compile-route.ts";
import { frozenList } from "./freeze.ts";
import type { RouteFile } from "./schema.ts";

interface Target {
  /** Path of the route in the file. */
  readonly at: YamlPath;
  readonly provider: Provider;
  readonly environment: string;
}

/** Compiles a route's credentials, and checks that each one belongs where the route goes. */
export function compileCredentials(file: RouteFile, target: Target, context: RouteContext): RouteCredentials {
  const { report } = context;
  const { credentials } = file;
  const path = [...target.at, "credentials"];
  checkNeed(file, target, context);
  if (Array.isArray(credentials)) {
    for (const [index, name] of credentials.entries()) checkOne(name, [...path, index], target, context);
    if (new Set(credentials).size !== credentials.length) report.error(path, "names a credential twice; remove one");
    return freeze(
      credentials.map((name) => ({ name, weight: 1 })),
      "failover",
    );
  }
  const use = (credentials.use ?? []).map((entry) => (typeof entry === "string" ? { name: entry, weight: 1 } : entry));
  for (const [index, { name }] of use.entries()) checkOne(name, [...path, "use", index], target, context);
  if (new Set(use.map(({ name }) => name)).size !== use.length) {
    report.error([...path, "use"], "names a credential twice; remove one");
  }
  const fallback = credentials.else ?? null;
  if (fallback !== null) checkOne(fallback, [...path, "else"], target, context);
  if (credentials.owner !== undefined && fallback === null) warnWithoutUser(file, path, context);
  return freeze(use, credentials.choose ?? "failover", credentials.owner ?? null, fallback);
}

function freeze(
  use: readonly WeightedCredential[],
  choose: RouteCredentials["choose"],
  owner: RouteCredentials["owner"] = null,
  fallback: string | null = null,
): RouteCredentials {
  return Object.freeze({ use: frozenList(use.map((entry) => Object.freeze(entry))), choose, owner, else: fallback });
}

function checkNeed(file: RouteFile, { at, provider }: Target, { report }: RouteContext): void {
  const path = [...at, "credentials"];
  const takesKey = provider.auth.some(({ scheme }) => scheme !== "none");
  const none = Array.isArray(file.credentials) && file.credentials.length === 0;
  if (takesKey && none) report.error(path, `is empty, but ${provider.id} needs a key; name a credential`);
  if (!takesKey && !none) report.error(path, `${provider.id} takes no key; write credentials: []`);
  if (takesKey && file.upstream === "http") {
    report.error([...at, "upstream"], "keys only go over verified TLS; write https or remove the key");
  }
}

/** A credential that does not exist yet is no error: the policy may be there before the key. */
function checkOne(
  name: string,
  path: YamlPath,
  { provider, environment }: Target,
  { known, report }: RouteContext,
): void {
  const credential = known.credentials.get(name);
  if (credential === undefined) {
    const first = provider.environments.keys().next().value;
    const option = environment === first ? "" : ` --environment ${environment}`;
    report.warning(
      path,
      `credential "${name}" does not exist yet; add it with: sidekey credential add ${provider.id} --name ${name}${option}`,
    );
    return;
  }
  if (credential.provider !== provider.id) {
    report.error(
      path,
      `credential "${name}" belongs to ${credential.provider}, not to ${provider.id}; name one of ${provider.id}`,
    );
  } else if (credential.environment !== environment) {
    report.error(
      path,
      `credential "${name}" is for ${credential.environment}, but the route goes to ${environment}; write environment: ${credential.environment} or name another`,
    );
  }
}

function warnWithoutUser(file: RouteFile, path: YamlPath, { clients, report }: RouteContext): void {
  for (const name of file.clients) {
    if (clients.get(name)?.actsFor !== null) continue;
    report.warning(
      path,
      `client ${name} acts for no user, so it finds no key here; add actsFor: users to it, or else:`,
    );
  }
}

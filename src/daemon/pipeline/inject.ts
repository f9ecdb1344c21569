import type { Route } from "../../policy/compile.ts";
import type { InjectionPlan } from "../../providers/auth/plan.ts";
import type { Credential } from "../../store/credentials.ts";
import type { ScrubRule } from "./answer-head.ts";
import type { Choice } from "./choose.ts";
import { ProxyError } from "./errors.ts";
import type { Fields } from "./exchange.ts";
import type { CleanRequest } from "./headers.ts";
import { replacementFor } from "./scrub.ts";
import type { OpenedSecrets, SecretPool } from "./secret-pool.ts";
import type { Slot, SocketBinding, Splice } from "./splice.ts";

/**
 * Puts markers where the provider takes its key. This is the last thing that happens to a request
 * before it is sent; the secret's bytes take the markers' places on the socket (splice.ts).
 */

/** A request ready to send, and the secrets that it holds until the exchange ends. */
export interface Injection {
  readonly fields: string[];
  readonly query: string;
  /** The marker to set in the JSON body, for plans that inject there. */
  readonly bodyMarker: string | null;
  /** What to search for in the answer; null when it carries no secret. */
  readonly scrub: ScrubRule | null;
  spliced(): boolean;
  release(): void;
}

/** A request that needs no key: cleaned like any other, nothing added. */
export function withoutSecret(clean: CleanRequest, route: Route): Injection {
  return {
    fields: withCompanions(clean.fields, route),
    query: clean.query,
    bodyMarker: null,
    scrub: null,
    spliced: () => true,
    release: () => {},
  };
}

/** @throws what the vault throws when the secret cannot be opened; nothing is held then */
export function inject(
  clean: CleanRequest,
  plan: InjectionPlan,
  choice: Choice,
  route: Route,
  binding: SocketBinding,
  deps: { readonly secrets: SecretPool; readonly splice: Splice },
): Injection {
  const opened = open(deps.secrets, choice, plan, route);
  const hosts = boundHosts(choice.credential);
  const slots: Slot[] = [];
  const slotFor = (render: Parameters<OpenedSecrets["bytesFor"]>[0]): Slot => {
    const slot = deps.splice.open(opened.bytesFor(render), binding, hosts);
    slots.push(slot);
    return slot;
  };
  const fields = withCompanions(clean.fields, route);
  for (const place of plan.headers) {
    fields.push(place.name, place.prefix + slotFor(place.render).marker + place.suffix);
  }
  let query = clean.query;
  for (const place of plan.query) {
    query += `${query === "" ? "" : "&"}${place.name}=${slotFor(place.render).marker}`;
  }
  const body = plan.body
    ? deps.splice.watchBody(slotFor(plan.body.render), opened.bytesFor(plan.body.render).length)
    : null;
  return {
    fields,
    query,
    bodyMarker: body?.marker ?? null,
    scrub: { needles: opened.needles, replacement: replacementFor(choice.credential.name) },
    spliced: () => slots.every((slot) => slot.used),
    release: () => released(slots, opened, body?.done),
  };
}

/**
 * Without its audit entry nothing is opened, and a row that was tampered with never is (guarantees G8, threats M8):
 * the request ends with 503, others go on.
 */
function open(secrets: SecretPool, choice: Choice, plan: InjectionPlan, route: Route): OpenedSecrets {
  try {
    const { credential, version, token } = choice;
    const isSecret = (field: string): boolean => route.provider.fields.get(field)?.secret !== false;
    return secrets.acquire({ credentialId: credential.id, version, plan, token, isSecret });
  } catch (cause) {
    throw new ProxyError(
      "no_usable_credential",
      `route ${route.id}: its credential could not be opened; \`sidekey audit verify\` and \`sidekey doctor\` tell why`,
      { reason: "credential_not_opened", route: route.id, cause },
    );
  }
}

const hostSets = new WeakMap<Credential, ReadonlySet<string>>();

/** The credential's hosts as `host:port`; a host without a port means 443. */
function boundHosts(credential: Credential): ReadonlySet<string> {
  let hosts = hostSets.get(credential);
  if (!hosts) {
    hosts = new Set(credential.hosts.map((host) => (host.includes(":") ? host : `${host}:443`)));
    hostSets.set(credential, hosts);
  }
  return hosts;
}

function released(slots: readonly Slot[], opened: OpenedSecrets, bodyDone: (() => void) | undefined): void {
  for (const slot of slots) slot.release();
  bodyDone?.();
  opened.release();
}

/** Static fields that a provider wants on every request, unless the client chose its own value. */
function withCompanions(clean: Fields, route: Route): string[] {
  const fields = [...clean];
  for (const [name, value] of route.provider.requestHeaders) {
    if (!hasField(fields, name)) fields.push(name, value);
  }
  return fields;
}

function hasField(fields: Fields, wanted: string): boolean {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() === wanted) return true;
  }
  return false;
}

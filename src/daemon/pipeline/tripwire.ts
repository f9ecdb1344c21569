import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { authorityKey } from "../../policy/host.ts";
import { findCarried } from "../../providers/carriers.ts";
import { checkShape } from "../../providers/field-shape.ts";
import type { Field } from "../../providers/schema.ts";
import type { KnownValue } from "../../store/known-values.ts";
import { TOKEN_PREFIX } from "./authenticate.ts";
import { authorityCarriers } from "./carriers.ts";
import type { Fields } from "./exchange.ts";
import { asSecret, createJudge, type Judge, type JudgeDeps, type Seen, type Shown } from "./tripwire-judge.ts";

/*
 * Looks at what a client sends in the places where a provider takes its key. A service behind sidekey has no key, so
 * one in its request has come from somewhere. The request goes on as it would: the client's key is removed from it
 * anyway. What was sent is compared by its keyed fingerprint; it is neither kept nor written anywhere.
 */

export type FindingKind = "revoked_key_seen" | "stored_key_seen" | "foreign_key_seen" | "honeytoken_used";

/** What a request carried, told without the value. */
export interface Finding {
  readonly kind: FindingKind;
  /** Null when the client is not known. */
  readonly client: string | null;
  /** The route that the request was for, or its host while no route is known. */
  readonly where: string;
  readonly provider: string;
  /** `header x-api-key`, from the provider's list of places. */
  readonly place: string;
  /** Whose value it is; null for a foreign key. */
  readonly value: KnownValue | null;
}

/** One request, as far as a key can be in it. */
export interface ShownRequest {
  readonly policy: PolicySnapshot;
  /** Canonical. */
  readonly host: string;
  readonly port: number;
  readonly query: string;
  readonly fields: Fields;
  /** A string found where the provider takes a key in a JSON body. */
  readonly bodyKey: string | null;
  readonly client: string | null;
  /** The route that it was decided to take, or that came nearest. */
  readonly route: string | null;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

export interface TripwireDeps extends JudgeDeps {
  readonly found: (finding: Finding, atMs: number) => void;
  readonly onFailure: (error: unknown) => void;
}

export interface Tripwire {
  /** To be called once for every request whose host is known, refused ones too. Never throws, changes nothing. */
  inspect(request: ShownRequest): Finding | null;
}

/** Values of one request that are looked at. */
const MAX_CANDIDATES = 6;
/** Longest value that is looked at, in characters; no provider's key is longer. */
const MAX_LENGTH = 4096;
/** Shorter values are no keys. */
const MIN_LENGTH = 8;

/** What people write where a key must not be empty. */
const PLACEHOLDER = /placeholder|dummy|example|unused|not-?used|your-|changeme|fake|x{6}|0{8}|1{8}|sidekey/i;
/** Of fewer different characters than this no key is made. */
const MIN_DIFFERENT = 8;

export function createTripwire(deps: TripwireDeps): Tripwire {
  const judge = createJudge(deps);
  return {
    inspect(request) {
      try {
        const finding = find(request, judge);
        if (finding !== null) deps.found(finding, request.atMs);
        return finding;
      } catch (error) {
        deps.onFailure(error);
        return null;
      }
    },
  };
}

function find(request: ShownRequest, judge: Judge): Finding | null {
  const { policy, host, port, client, atMs } = request;
  const routes = policy.byAuthority.get(authorityKey(host, port));
  if (routes === undefined) return null;
  const shown = candidates(request);
  if (shown.length === 0) return null;
  const verdict = judge(shown, client ?? "", atMs);
  if (verdict === "unjudged") return null;
  const seen = verdict ?? foreign(shown, routes);
  if (seen === null) return null;
  const route = routes.find(({ id }) => id === request.route) ?? routes[0];
  const { place, name } = seen.shown;
  return {
    kind: seen.value === null ? "foreign_key_seen" : kindOf(seen.value),
    client,
    where: request.route ?? host,
    provider: route?.provider.id ?? "",
    place: `${place} ${name}`,
    value: seen.value,
  };
}

function kindOf({ honeytoken, stage }: KnownValue): FindingKind {
  if (honeytoken) return "honeytoken_used";
  return stage === "revoked" || stage === "removed" ? "revoked_key_seen" : "stored_key_seen";
}

/** What may be a key. Sidekey's own tokens are not, nor is what is too short, too long or could not be stored. */
function candidates({ policy, host, port, fields, query, bodyKey }: ShownRequest): readonly Shown[] {
  const carriers = authorityCarriers(policy, host, port);
  const found: Shown[] = [];
  const add = (shown: Shown): void => {
    if (found.length < MAX_CANDIDATES && mayBeKey(shown.value)) found.push(shown);
  };
  for (const carried of carriers ? findCarried(fields, query, carriers) : []) {
    if (carried.name === "sec-websocket-protocol")
      for (const value of inProtocols(carried.value)) add({ ...carried, value });
    else add(carried);
  }
  if (bodyKey !== null) add({ place: "body", name: "key", value: bodyKey });
  return found;
}

/** Browsers show a key as one of several subprotocols, behind a word of its own: `realtime, openai-insecure-api-key.KEY`. */
function inProtocols(value: string): string[] {
  return value
    .slice(0, MAX_LENGTH)
    .split(",")
    .slice(0, MAX_CANDIDATES)
    .map((protocol) => protocol.slice(protocol.indexOf(".") + 1).trim());
}

function mayBeKey(value: string): boolean {
  if (value.length < MIN_LENGTH || value.length > MAX_LENGTH || value.startsWith(TOKEN_PREFIX)) return false;
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code < 0x21 || code > 0x7e) return false;
  }
  return true;
}

/** A value that looks like a key of a provider behind this authority, though it is none that is stored. */
function foreign(shown: readonly Shown[], routes: readonly Route[]): Seen | null {
  const fields = tellingFields(routes);
  if (fields.length === 0) return null;
  for (const each of shown) {
    if (isPlaceholder(each.value)) continue;
    const secret = asSecret(each.value);
    try {
      if (fields.some((field) => checkShape(field, secret).ok)) return { shown: each, value: null };
    } finally {
      secret.wipe();
    }
  }
  return null;
}

const telling = new WeakMap<readonly Route[], readonly Field[]>();

function tellingFields(routes: readonly Route[]): readonly Field[] {
  let fields = telling.get(routes);
  if (fields === undefined) {
    const all = routes.flatMap(({ provider }) => [...provider.fields.values()]);
    fields = [...new Set(all.filter(isTelling))];
    telling.set(routes, fields);
  }
  return fields;
}

/** Whether a shape says enough to take a value of it for a key: a prefix, or an exact length. */
function isTelling({ secret, shape }: Field): boolean {
  return secret && shape?.enforced === true && (shape.prefixes.length > 0 || shape.minLength === shape.maxLength);
}

function isPlaceholder(value: string): boolean {
  return PLACEHOLDER.test(value) || new Set(value).size < MIN_DIFFERENT;
}

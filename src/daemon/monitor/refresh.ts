import { ACCESS_TOKEN, tokenRequest } from "../../providers/auth/oauth2.ts";
import type { OAuth2Auth } from "../../providers/schema.ts";
import { Secret } from "../../secret.ts";
import type { Credential } from "../../store/credentials.ts";
import { aeadOpen, aeadSeal, KEY_BYTES, randomBytes } from "../../store/crypto.ts";
import { writeBackRefresh } from "../../store/refresh-write-back.ts";
import type { Vault } from "../../store/vault.ts";
import type { AccessToken, AccessTokens } from "../pipeline/access-token.ts";
import { ProxyError } from "../pipeline/errors.ts";
import type { Alerts } from "./alerts.ts";
import { CallError, type CallProvider } from "./provider-call.ts";
import { readTokenAnswer } from "./token-answer.ts";

/** The part of a token's life after which another is got. */
const RENEW_AT = 0.75;
const CALL_MS = 15_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 5 * 60_000;
/** A refused credential is tried again this late: only a person can have changed that, in ms. */
const REFUSED_RETRY_MS = 15 * 60_000;
const ACTOR = "sidekey";

export interface TokenSourceDeps {
  readonly vault: Pick<Vault, "openFields" | "write">;
  readonly call: CallProvider;
  readonly alerts: Alerts;
  /** Called after a version was written, so that the daemon notices it now. */
  readonly onWrite: () => void;
  /** ms since the epoch. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** A token sealed under the process's own key, so that memory holds it in clear only while requests use it. */
interface Held extends AccessToken {
  readonly renewAt: number;
  readonly expiresAt: number;
}

/** What came with a rotated refresh token and is not used before that is on disk. */
interface Unwritten {
  readonly fields: Map<string, Secret>;
  readonly token: Held;
}

/** One version at one token endpoint. */
interface Slot {
  readonly credential: Credential;
  readonly rule: OAuth2Auth;
  version: number;
  held: Held | null;
  unwritten: Unwritten | null;
  renewal: Promise<Held> | null;
  failures: number;
  notBefore: number;
  /** Why the provider gives no token, with the next step; null when nothing is known against it. */
  refused: string | null;
  lastUsedAt: number;
}

/**
 * Access tokens of credentials that are exchanged for them (RFC 6749). One is got when it is first needed, kept in
 * memory only, and renewed at three quarters of its life while it still serves.
 */
export class TokenSource implements AccessTokens {
  readonly #deps: TokenSourceDeps;
  readonly #slots = new Map<string, Slot>();
  readonly #key = Secret.adopt(randomBytes(KEY_BYTES));
  #serial = 0;

  constructor(deps: TokenSourceDeps) {
    this.#deps = deps;
  }

  take(credential: Credential, version: number, rule: OAuth2Auth): AccessToken | Promise<AccessToken> {
    const slot = this.#slot(credential, version, rule);
    const now = this.#deps.now();
    slot.lastUsedAt = now;
    const { held } = slot;
    if (held === null || now >= held.expiresAt) return this.#renew(slot);
    if (now >= held.renewAt) this.#renewBehind(slot);
    return held;
  }

  /** Renews what is due and was used lately, and forgets what has expired unused. Call it now and then. */
  tick(): void {
    const now = this.#deps.now();
    for (const [key, slot] of this.#slots) {
      const { held } = slot;
      if (slot.renewal !== null || slot.unwritten !== null) continue;
      if (held === null || now >= held.expiresAt) {
        if (now >= slot.notBefore && slot.refused === null) this.#slots.delete(key);
      } else if (now >= held.renewAt && slot.lastUsedAt >= held.renewAt - (held.expiresAt - held.renewAt)) {
        this.#renewBehind(slot);
      }
    }
  }

  /** Forgets every token: the vault was sealed, or the daemon stops. */
  clear(): void {
    for (const slot of this.#slots.values()) wipeAll(slot.unwritten?.fields);
    this.#slots.clear();
  }

  #slot(credential: Credential, version: number, rule: OAuth2Auth): Slot {
    const key = `${credential.id}\n${version}\n${rule.tokenHost}${rule.tokenPath}`;
    const known = this.#slots.get(key);
    if (known) return known;
    const slot: Slot = {
      credential,
      rule,
      version,
      held: null,
      unwritten: null,
      renewal: null,
      failures: 0,
      notBefore: 0,
      refused: null,
      lastUsedAt: 0,
    };
    this.#slots.set(key, slot);
    return slot;
  }

  /** The token in use goes on serving, so nobody waits and a failure is only counted. */
  #renewBehind(slot: Slot): void {
    if (slot.renewal === null && this.#deps.now() >= slot.notBefore) this.#renew(slot).catch(() => {});
  }

  /** One request at a time for each version, however many exchanges wait for it. */
  #renew(slot: Slot): Promise<Held> {
    if (slot.renewal !== null) return slot.renewal;
    if (this.#deps.now() < slot.notBefore) return Promise.reject(this.#unavailable(slot));
    const renewal = this.#fetch(slot).finally(() => {
      slot.renewal = null;
    });
    slot.renewal = renewal;
    return renewal;
  }

  async #fetch(slot: Slot): Promise<Held> {
    try {
      const token = slot.unwritten === null ? await this.#ask(slot) : this.#writeBack(slot, slot.unwritten);
      slot.held = token;
      slot.failures = 0;
      slot.notBefore = 0;
      slot.refused = null;
      this.#deps.alerts.clear("token_refused", objectOf(slot));
      this.#deps.alerts.clear("token_not_renewed", objectOf(slot));
      return token;
    } catch (error) {
      this.#failed(slot, error);
      throw this.#unavailable(slot);
    }
  }

  async #ask(slot: Slot): Promise<Held> {
    const { call, now, vault } = this.#deps;
    const { credential, rule } = slot;
    assertBound(credential, rule);
    const fields = vault.openFields(credential.id, slot.version, "refresh");
    try {
      const request = tokenRequest(rule, fields);
      // Counted from before the request: the provider's clock for the token started later.
      const askedAt = now();
      const question = { ...request, port: 443, method: "POST", timeoutMs: CALL_MS };
      const answer = await call(question).finally(() => {
        request.body.fill(0);
        wipeAll(request.secrets);
      });
      const read = readTokenAnswer(answer);
      if (read.kind === "refused") throw new Refused(read.reason);
      if (read.kind === "failed") throw new Failed(read.problem);
      const token = this.#hold(read.access, askedAt, read.lifeMs);
      return this.#withRefresh(slot, fields, read.refresh, token);
    } finally {
      wipeAll(fields);
    }
  }

  /** A refresh token that the provider replaced is on disk before the access token that came with it is used. */
  #withRefresh(slot: Slot, fields: Map<string, Secret>, refresh: Secret | null, token: Held): Held {
    const field = slot.rule.refreshToken;
    const old = field === null ? undefined : fields.get(field);
    const replaced = refresh !== null && old !== undefined && !same(old, refresh);
    if (!replaced || field === null) {
      refresh?.wipe();
      return token;
    }
    const written = new Map([...fields].map(([name, secret]) => [name, secret.use((bytes) => Secret.copyOf(bytes))]));
    written.get(field)?.wipe();
    written.set(field, refresh);
    slot.unwritten = { fields: written, token };
    return this.#writeBack(slot, slot.unwritten);
  }

  /** When this throws, both stay in memory and the next try begins here: the old refresh token is spent. */
  #writeBack(slot: Slot, { fields, token }: Unwritten): Held {
    const { credential, version, rule } = slot;
    const next = this.#deps.vault.write((transaction) =>
      writeBackRefresh(transaction, credential.name, { version, fields }, ACTOR),
    );
    wipeAll(fields);
    slot.unwritten = null;
    // Exchanges that chose the replaced version go on with the same token.
    slot.version = next;
    this.#slots.set(`${credential.id}\n${next}\n${rule.tokenHost}${rule.tokenPath}`, slot);
    this.#deps.onWrite();
    return token;
  }

  #hold(access: Secret, askedAt: number, lifeMs: number): Held {
    const serial = ++this.#serial;
    const aad = Buffer.from(String(serial));
    const sealed = this.#key.use((key) => access.use((bytes) => aeadSeal(key, bytes, aad)));
    access.wipe();
    return {
      serial,
      renewAt: askedAt + lifeMs * RENEW_AT,
      expiresAt: askedAt + lifeMs,
      open: () => new Map([[ACCESS_TOKEN, Secret.adopt(this.#key.use((key) => aeadOpen(key, sealed, aad)))]]),
    };
  }

  #failed(slot: Slot, error: unknown): void {
    const { alerts, now, random } = this.#deps;
    const object = objectOf(slot);
    const { name } = slot.credential;
    slot.failures += 1;
    if (error instanceof Refused) {
      slot.notBefore = now() + REFUSED_RETRY_MS;
      slot.refused = `${slot.rule.tokenHost} refuses credential "${name}" (${error.reason}); ${nextStep(error.reason, name)}`;
      alerts.raise("token_refused", object, "critical", slot.refused);
      return;
    }
    const pause = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (slot.failures - 1));
    slot.notBefore = now() + pause * (0.5 + random() / 2);
    const known = error instanceof Failed || error instanceof CallError;
    const why = known ? error.message : "the vault could not be read or written";
    alerts.raise("token_not_renewed", object, "warning", `credential "${name}" got no access token: ${why}`);
  }

  #unavailable(slot: Slot): ProxyError {
    const { name } = slot.credential;
    const seconds = Math.max(1, Math.ceil((slot.notBefore - this.#deps.now()) / 1000));
    const message =
      slot.refused ?? `credential "${name}" has no access token now; it is asked for again in ${seconds} s`;
    return new ProxyError("no_usable_credential", message, {
      reason: slot.refused === null ? "token_unavailable" : "token_refused",
      fields: ["Retry-After", String(seconds)],
    });
  }
}

class Refused extends Error {
  readonly reason: string;

  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}

class Failed extends Error {}

function nextStep(reason: string, name: string): string {
  if (reason === "invalid_grant") {
    return `log in at the provider again and store the new refresh token with \`sidekey credential rotate ${name}\``;
  }
  return `check the client at the provider, then store it with \`sidekey credential rotate ${name}\``;
}

/** The last door of this file: fields go only to a host that they are sealed for (guarantee G1). */
function assertBound({ name, hosts }: Credential, { tokenHost }: OAuth2Auth): void {
  if (hosts.includes(tokenHost) || hosts.includes(`${tokenHost}:443`)) return;
  throw new Failed(`it is not bound to ${tokenHost}; store "${name}" again for an environment with that host`);
}

function same(one: Secret, another: Secret): boolean {
  return one.use((a) => another.use((b) => a.equals(b)));
}

function objectOf({ credential }: Slot): string {
  return `credential:${credential.name}`;
}

function wipeAll(secrets: ReadonlyMap<string, Secret> | undefined): void {
  for (const secret of secrets?.values() ?? []) secret.wipe();
}

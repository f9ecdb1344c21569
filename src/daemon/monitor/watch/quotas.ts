import type { AlertBook } from "../alerts.ts";
import type { Attempt } from "./attempt.ts";

const QUOTA = "provider_quota";

/** Some requests need no quota (a list of models): it is there again when nothing was refused for so long. */
const HEALTH_MS = 600_000;
/** While it lasts its alert is counted on at this pace. */
const REPEAT_MS = 60_000;
/** Credentials that are watched; what is beyond these is not. */
const MAX_CREDENTIALS = 500;

interface UsedUp {
  /** When the provider last refused for it. */
  refusedAt: number;
  toldAt: number;
}

/** Tells which credentials have used up what was paid for at their provider. */
export class Quotas {
  readonly #alerts: Pick<AlertBook, "raise" | "clear">;
  readonly #inUse: (credential: string) => boolean;
  /** By credential. */
  readonly #usedUp = new Map<string, UsedUp>();

  /** @param inUse whether there is a credential of that name that may be used */
  constructor(alerts: Pick<AlertBook, "raise" | "clear" | "open">, inUse: (credential: string) => boolean) {
    this.#alerts = alerts;
    this.#inUse = inUse;
    for (const { kind, object, lastAt } of alerts.open()) {
      if (kind !== QUOTA || this.#usedUp.size >= MAX_CREDENTIALS) continue;
      this.#usedUp.set(object.slice("credential:".length), { refusedAt: lastAt, toldAt: lastAt });
    }
  }

  get size(): number {
    return this.#usedUp.size;
  }

  /** On the request path. */
  seen({ credential, provider, result, atMs }: Attempt): void {
    if (credential === null) return;
    if (result === "quota") this.#refused(credential, provider, atMs);
    else if (result === "ok" && this.#usedUp.size > 0) this.#served(credential, atMs);
  }

  /** A credential that was removed or disabled needs nobody's money any more. To be called every second or so. */
  look(): void {
    for (const credential of this.#usedUp.keys()) if (!this.#inUse(credential)) this.#clear(credential);
  }

  #refused(credential: string, provider: string, atMs: number): void {
    const known = this.#usedUp.get(credential);
    if (known === undefined && this.#usedUp.size >= MAX_CREDENTIALS) return;
    const usedUp = known ?? { refusedAt: atMs, toldAt: Number.NEGATIVE_INFINITY };
    this.#usedUp.set(credential, usedUp);
    usedUp.refusedAt = Math.max(usedUp.refusedAt, atMs);
    if (atMs - usedUp.toldAt < REPEAT_MS) return;
    usedUp.toldAt = atMs;
    const message = `${provider} refuses requests with ${credential} because its quota or credit is used up; top it up there, or give its routes another credential`;
    this.#alerts.raise(QUOTA, `credential:${credential}`, "critical", message);
  }

  #served(credential: string, atMs: number): void {
    const known = this.#usedUp.get(credential);
    if (known !== undefined && atMs - known.refusedAt >= HEALTH_MS) this.#clear(credential);
  }

  #clear(credential: string): void {
    this.#usedUp.delete(credential);
    this.#alerts.clear(QUOTA, `credential:${credential}`);
  }
}

import type { SecureContext } from "node:tls";
import type { Vault } from "../store/vault.ts";
import { issueIntermediate } from "./ingress/certificate-authority.ts";
import { createLeafCache, type LeafCache } from "./ingress/leaf-cache.ts";
import { openRoot } from "./setup.ts";

/** Seven-day intermediates are replaced daily, so that a suspended machine never wakes up with an expired one. */
const RENEW_MS = 24 * 3600 * 1000;

/**
 * Leafs for the policy's hosts. When the hosts change, a new constrained intermediate is issued and the
 * old one, which could not sign for the new hosts, is forgotten (threats I3).
 */
export class LeafSource {
  readonly #vault: Vault;
  readonly #now: () => number;
  readonly #onFailure: (error: unknown) => void;
  #cache: LeafCache | null = null;
  #hosts = "";
  #issuedAt = 0;
  #pending: Promise<void> = Promise.resolve();

  constructor(vault: Vault, now: () => number, onFailure: (error: unknown) => void) {
    this.#vault = vault;
    this.#now = now;
    this.#onFailure = onFailure;
  }

  /** Certificates minted with the present intermediate. */
  get minted(): number {
    return this.#cache?.minted ?? 0;
  }

  /** Follows the policy; concurrent calls run one after the other. Never rejects. */
  follow(hosts: ReadonlySet<string>): Promise<void> {
    this.#pending = this.#pending.then(() => this.#issue(hosts)).catch(this.#onFailure);
    return this.#pending;
  }

  /** The context for a policy host; null for every other name. */
  leafFor(host: string): SecureContext | null | Promise<SecureContext | null> {
    return this.#cache?.get(host) ?? this.#pending.then(() => this.#cache?.contextFor(host) ?? null);
  }

  async #issue(hosts: ReadonlySet<string>): Promise<void> {
    const sorted = [...hosts].filter((host) => !host.includes(":") && !/^[0-9.]+$/.test(host)).sort();
    const key = sorted.join("\n");
    const fresh = this.#now() - this.#issuedAt < RENEW_MS;
    if (this.#cache && key === this.#hosts && fresh) return;
    // What there is stays in use; it is followed again after the unsealing.
    if (this.#vault.sealed) return;
    if (sorted.length === 0) {
      this.#cache = null;
      this.#hosts = key;
      return;
    }
    const root = openRoot(this.#vault, "issue the intermediate certificate");
    if (!root) throw new Error("the CA root is missing from the vault; `sidekey init` makes it");
    try {
      const intermediate = await issueIntermediate(root, sorted, this.#now());
      const cache = createLeafCache(intermediate, sorted, {
        now: this.#now,
        onFailure: (_host, error) => this.#onFailure(error),
      });
      await cache.preMint();
      this.#cache = cache;
      this.#hosts = key;
      this.#issuedAt = this.#now();
    } finally {
      root.privateKey.wipe();
    }
  }
}

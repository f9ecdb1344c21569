import { createSecureContext, type SecureContext } from "node:tls";
import { type Intermediate, mintLeaf, notPermitted } from "./certificate-authority.ts";

/**
 * TLS contexts for the policy's hosts, one each. Nothing else is ever minted, so the cache is bounded by the policy and
 * a flood of made-up server names costs a map lookup. Hosts are canonical names.
 */
export interface LeafCache {
  /**
   * The context to use now, or null when `host` is not in the policy or has none yet (see `contextFor`). For the SNI
   * callback: synchronous, never throws; a leaf past 2/3 of its life is still handed out while its successor is minted.
   */
  get(host: string): SecureContext | null;
  /** As `get`, but mints what is missing. Null: not in the policy, or minting failed. Never rejects. */
  contextFor(host: string): SecureContext | Promise<SecureContext | null> | null;
  /** Mints every host that has no fresh leaf. @throws CertificateError when one cannot be minted. */
  preMint(): Promise<void>;
  /** Hosts that have a context. */
  readonly size: number;
  /** Leafs minted since the cache was made. */
  readonly minted: number;
}

export interface LeafCacheOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of every minting failure that `get` and `contextFor` do not throw. */
  readonly onFailure?: (host: string, error: unknown) => void;
}

interface Entry {
  readonly context: SecureContext;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly renewAtMs: number;
}

/**
 * @param hosts canonical names, all among the intermediate's
 * @throws CertificateError `host_not_permitted` when the intermediate does not name one of `hosts`.
 */
export function createLeafCache(
  intermediate: Intermediate,
  hosts: Iterable<string>,
  options: LeafCacheOptions,
): LeafCache {
  const allowed = new Set(hosts);
  for (const host of allowed) if (!intermediate.hosts.has(host)) throw notPermitted(host);
  return new PolicyLeafCache(intermediate, allowed, options);
}

class PolicyLeafCache implements LeafCache {
  readonly #intermediate: Intermediate;
  readonly #hosts: ReadonlySet<string>;
  readonly #now: () => number;
  readonly #onFailure: (host: string, error: unknown) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #minting = new Map<string, Promise<SecureContext>>();
  #minted = 0;

  constructor(intermediate: Intermediate, hosts: ReadonlySet<string>, options: LeafCacheOptions) {
    this.#intermediate = intermediate;
    this.#hosts = hosts;
    this.#now = options.now;
    this.#onFailure = options.onFailure ?? (() => {});
  }

  get size(): number {
    return this.#entries.size;
  }

  get minted(): number {
    return this.#minted;
  }

  get(host: string): SecureContext | null {
    const entry = this.#entries.get(host);
    if (entry === undefined) return null;
    if (!this.#isFresh(entry)) void this.#mintOrNull(host);
    return this.#isValid(entry) ? entry.context : null;
  }

  contextFor(host: string): SecureContext | Promise<SecureContext | null> | null {
    if (!this.#hosts.has(host)) return null;
    return this.get(host) ?? this.#mintOrNull(host);
  }

  async preMint(): Promise<void> {
    // One after the other: making keys must not take the whole thread pool from DNS and files.
    for (const host of this.#hosts) {
      const entry = this.#entries.get(host);
      if (entry === undefined || !this.#isFresh(entry)) await this.#mint(host);
    }
  }

  #isFresh(entry: Entry): boolean {
    const now = this.#now();
    // A clock that was set back can make a leaf "not yet valid"; a new one cures that too.
    return now < entry.renewAtMs && now >= entry.notBeforeMs;
  }

  #isValid(entry: Entry): boolean {
    const now = this.#now();
    return now < entry.notAfterMs && now >= entry.notBeforeMs;
  }

  async #mintOrNull(host: string): Promise<SecureContext | null> {
    try {
      return await this.#mint(host);
    } catch (error) {
      this.#onFailure(host, error);
      return null;
    }
  }

  /** Single flight per host. */
  #mint(host: string): Promise<SecureContext> {
    const running = this.#minting.get(host);
    if (running !== undefined) return running;
    const mint = this.#mintNow(host).finally(() => this.#minting.delete(host));
    this.#minting.set(host, mint);
    return mint;
  }

  async #mintNow(host: string): Promise<SecureContext> {
    const leaf = await mintLeaf(this.#intermediate, host, this.#now());
    const context = createSecureContext({
      cert: leaf.chainPem,
      // A string, because this API takes nothing else. It is this host's key for a day, made here and never stored:
      // not a secret of the vault, and worth nothing to clients that do not trust this installation's root.
      key: leaf.privateKeyPem,
      // Clients show no certificates here; naming one authority keeps Node from loading all public ones per context.
      ca: this.#intermediate.certificatePem,
      minVersion: "TLSv1.2",
    });
    const { notBeforeMs, notAfterMs, renewAtMs } = leaf;
    this.#entries.set(host, { context, notBeforeMs, notAfterMs, renewAtMs });
    this.#minted += 1;
    return context;
  }
}

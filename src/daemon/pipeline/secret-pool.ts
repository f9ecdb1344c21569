import type { InjectionPlan, Rendering } from "../../providers/auth/plan.ts";
import { renderSecret } from "../../providers/auth/plan.ts";
import type { Secret } from "../../secret.ts";
import type { AccessToken } from "./access-token.ts";
import { Needles } from "./needles.ts";
import { formsOf, withoutTwins } from "./secret-forms.ts";

/**
 * Opened secrets, kept while exchanges use them and a little longer, then zeroed. The daemon decrypts
 * (and writes an audit entry) once per burst of traffic instead of once per request.
 */

export type OpenFields = (credentialId: string, version: number) => Map<string, Secret>;

/** What an exchange needs of a version. */
export interface Wanted {
  readonly credentialId: string;
  readonly version: number;
  readonly plan: InjectionPlan;
  /** Taken instead of the version's own fields. */
  readonly token?: AccessToken | undefined;
  /** False for fields that may be seen, such as the name of a resource. */
  readonly isSecret: (field: string) => boolean;
}

/** The rendered bytes of one plan of one version; `release` when the exchange has ended. */
export interface OpenedSecrets {
  bytesFor(rendering: Rendering): Secret;
  /** What to search for in the answer. */
  readonly needles: Needles;
  release(): void;
}

interface Entry {
  readonly rendered: Map<Rendering, Secret>;
  /** Null until the first plan has been filled in. */
  needles: Needles | null;
  readonly plans: Set<InjectionPlan>;
  users: number;
  /** `performance.now()` when the last user left. */
  idleSince: number;
}

export class SecretPool {
  readonly #open: OpenFields;
  readonly #idleMs: number;
  readonly #entries = new Map<string, Entry>();
  readonly #sweeper: NodeJS.Timeout;

  /** @param idleMs how long a secret may stay open without an exchange using it */
  constructor(open: OpenFields, idleMs: number) {
    this.#open = open;
    this.#idleMs = idleMs;
    this.#sweeper = setInterval(() => this.#sweep(), Math.max(10, idleMs / 4));
    this.#sweeper.unref();
  }

  /** Secrets in memory now; zero once idle. */
  get size(): number {
    return this.#entries.size;
  }

  /** Exchanges that hold this version now. */
  users(credentialId: string, version: number): number {
    const key = `${credentialId}\n${version}`;
    let users = 0;
    // An access token has an entry of its own, with its serial behind.
    for (const [name, entry] of this.#entries) if (name === key || name.startsWith(`${key}\n`)) users += entry.users;
    return users;
  }

  /** @throws whatever the vault throws (sealed, tampered row, audit not writable); nothing is kept then. */
  acquire(wanted: Wanted): OpenedSecrets {
    const { credentialId, version, plan, token } = wanted;
    // A newer token does not take the place of one that exchanges still use.
    const key = token ? `${credentialId}\n${version}\n${token.serial}` : `${credentialId}\n${version}`;
    const entry = this.#entries.get(key) ?? newEntry();
    if (!entry.plans.has(plan)) {
      fill(entry, wanted, token ? token.open() : this.#open(credentialId, version));
    }
    this.#entries.set(key, entry);
    entry.users++;
    return lease(entry);
  }

  /** Zeroes everything at once: the vault was sealed, or the daemon stops. */
  clear(): void {
    for (const [key, entry] of this.#entries) this.#drop(key, entry);
  }

  /** Zeroes at once what may no longer be used: revoked, disabled, or in a category that was sealed. */
  retain(mayBeUsed: (credentialId: string, version: number) => boolean): void {
    for (const [key, entry] of this.#entries) {
      const [id = "", version = ""] = key.split("\n");
      if (!mayBeUsed(id, Number(version))) this.#drop(key, entry);
    }
  }

  /** Ends the sweeper and zeroes everything. */
  close(): void {
    clearInterval(this.#sweeper);
    this.clear();
  }

  /** Replaces the bytes of every open secret in `line` (the log's last line of defence, threats E4). */
  scrub(line: Buffer): Buffer {
    let clean = line;
    for (const { needles } of this.#entries.values()) if (needles) clean = blank(clean, needles);
    return clean;
  }

  #sweep(): void {
    const oldest = performance.now() - this.#idleMs;
    for (const [key, entry] of this.#entries) {
      if (entry.users === 0 && entry.idleSince <= oldest) this.#drop(key, entry);
    }
  }

  #drop(key: string, entry: Entry): void {
    for (const secret of entry.rendered.values()) secret.wipe();
    entry.needles?.wipe();
    this.#entries.delete(key);
  }
}

function newEntry(): Entry {
  return { rendered: new Map(), needles: null, plans: new Set(), users: 0, idleSince: 0 };
}

function fill(entry: Entry, { plan, isSecret }: Wanted, fields: Map<string, Secret>): void {
  try {
    for (const rendering of renderings(plan)) {
      if (!entry.rendered.has(rendering)) entry.rendered.set(rendering, renderSecret(rendering, fields));
    }
    entry.needles ??= needlesOf([...fields].flatMap(([name, secret]) => (isSecret(name) ? [secret] : [])));
    entry.plans.add(plan);
  } finally {
    for (const secret of fields.values()) secret.wipe();
  }
}

function needlesOf(secrets: readonly Secret[]): Needles {
  return new Needles(withoutTwins(secrets.flatMap((secret) => secret.use(formsOf))));
}

function lease(entry: Entry): OpenedSecrets {
  let held = true;
  const { needles } = entry;
  if (needles === null) throw new Error("internal: a version was leased before it was opened");
  return {
    needles,
    bytesFor: (rendering) => {
      const secret = entry.rendered.get(rendering);
      if (!secret) throw new Error("internal: a rendering was not opened with its plan");
      return secret;
    },
    release: () => {
      if (!held) return;
      held = false;
      entry.users--;
      if (entry.users === 0) entry.idleSince = performance.now();
    },
  };
}

function renderings(plan: InjectionPlan): Rendering[] {
  const all = [...plan.headers, ...plan.query].map((place) => place.render);
  if (plan.body) all.push(plan.body.render);
  return all;
}

/** A copy with stars in the place of secrets; the same line when there is none. */
function blank(line: Buffer, needles: Needles): Buffer {
  const found = needles.search(line);
  if (found === null) return line;
  const clean = Buffer.from(line);
  for (const { start, end } of found) clean.fill(0x2a, start, end);
  return clean;
}

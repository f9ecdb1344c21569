import type { Secret } from "../../secret.ts";
import { VaultError, VaultSealedError } from "../../store/errors.ts";
import { listRotations } from "../../store/rotations.ts";
import type { Vault } from "../../store/vault.ts";
import type { AlertKind } from "./alert-kinds.ts";
import type { Alerts } from "./alerts.ts";
import { change, revokeHere, Superseded, storeKey, type Work, workOf } from "./automatic-state.ts";
import { type HolderDeps, type Holders, withHolders } from "./rotation-holders.ts";
import { ROTATORS } from "./rotators/known-rotators.ts";
import { type MintedKey, type Rotator, type RotatorContext, RotatorError } from "./rotators/rotator.ts";

const FIRST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 3_600_000;
/** As many tries in vain make somebody look at it. */
const STUCK_ATTEMPTS = 5;
/** Providers take a while to forget a key; one that works for longer after its end is a danger, in ms. */
const DEATH_GRACE_MS = 10 * 60_000;

export interface AutomaticRotationDeps extends HolderDeps {
  readonly vault: Pick<Vault, "sealed" | "read" | "write" | "listCredentials" | "getCredential" | "openFields">;
  readonly alerts: Alerts;
  /** Called after the vault was changed, so that the daemon notices it now. */
  readonly onWrite: () => void;
  /** In [0, 1): spreads the retries. */
  readonly random: () => number;
  readonly rotators?: ReadonlyMap<string, Rotator>;
  /** Called at every boundary between something outside and something durable; a test throws here to be killed. */
  readonly testOnlyBoundary?: (name: string) => void;
}

/**
 * The steps of a rotation that happen at the provider: making a key, and ending the old one until it is proven dead.
 * Each is written down before and after, so that a restart goes on with it; each may be run twice. What lies between
 * them (testing the new version, moving the traffic, the time of grace) is not done here.
 */
export class AutomaticRotations {
  readonly #deps: AutomaticRotationDeps;
  readonly #rotators: ReadonlyMap<string, Rotator>;
  /** One step at a time for each rotator, so that a provider that hangs keeps nobody else waiting. */
  readonly #lanes = new Map<string, Promise<void>>();
  /** By credential id: not before this time, when even the failure could not be written down. */
  readonly #unwritten = new Map<string, number>();

  constructor(deps: AutomaticRotationDeps) {
    this.#deps = deps;
    this.#rotators = deps.rotators ?? ROTATORS;
  }

  /** Begins every step that is due, at most one for each provider. Call it now and then. @throws what reading throws */
  tick(): void {
    const { vault } = this.#deps;
    if (vault.sealed) return;
    const rotations = vault.read(listRotations);
    if (rotations.size === 0) return;
    for (const { id, name } of vault.listCredentials()) {
      const rotation = rotations.get(id);
      const work = rotation ? workOf(id, name, rotation) : null;
      if (work !== null && this.#isDue(work)) this.#begin(work);
    }
  }

  /** When what is under way now has come to its end. */
  async settled(): Promise<void> {
    await Promise.all(this.#lanes.values());
  }

  #isDue({ id, rotation, automatic }: Work): boolean {
    const now = this.#deps.now();
    if (this.#lanes.has(automatic.rotator) || now < (this.#unwritten.get(id) ?? 0)) return false;
    return rotation.nextTryAt === null || rotation.nextTryAt <= now;
  }

  #begin(work: Work): void {
    const lane = work.automatic.rotator;
    const step = this.#step(work)
      .then(() => void this.#unwritten.delete(work.id))
      .catch((error: unknown) => this.#failed(work, error))
      .finally(() => {
        this.#lanes.delete(lane);
        this.#deps.onWrite();
      });
    this.#lanes.set(lane, step);
  }

  async #step(work: Work): Promise<void> {
    const rotator = this.#rotators.get(work.automatic.rotator);
    if (rotator === undefined) {
      throw new RotatorError(
        "permanent",
        `there is no rotator "${work.automatic.rotator}"; configure the rotation again`,
      );
    }
    const { phase, from, to } = work.rotation;
    const version = phase === "failed" ? to : from;
    const credential = this.#deps.vault.getCredential(work.name);
    await withHolders(this.#deps, credential, work.rotation, version, async (holders) => {
      if (phase === "creating") await this.#create(work, rotator, holders);
      else if (phase === "failed") await this.#undo(work, rotator, holders);
      else await this.#end(work, rotator, holders);
    });
  }

  async #create(begun: Work, rotator: Rotator, holders: Holders): Promise<void> {
    const { vault } = this.#deps;
    let work = begun;
    assertFields(rotator, holders);
    if (!work.automatic.prepared) {
      const found = await rotator.prepare(contextOf(work, holders));
      const oldKey = work.automatic.oldKey ?? found.oldKey;
      const said = { action: "rotation.prepare", detail: { old_key: oldKey ?? "unknown" } };
      work = change(vault, work, { automatic: { prepared: true, oldKey, memo: found.memo } }, said);
      this.#boundary("prepared");
    }
    const attempt = work.automatic.asked + 1;
    if (attempt > 1 && !rotator.findsOrphans) this.#orphaned(work);
    const asking = { action: "rotation.ask", detail: { token: work.automatic.token, attempt } };
    work = change(vault, work, { automatic: { asked: attempt } }, asking);
    this.#boundary("asked");
    const key = await this.#ask(work, () => rotator.create(contextOf(work, holders), work.automatic.memo, attempt));
    try {
      this.#boundary("created");
      if (sameFields(key.fields, holders.old.fields)) {
        throw new RotatorError("retry", "making a key: the provider gave the old key again");
      }
      await this.#store(work, rotator, holders, key);
    } finally {
      wipeAll(key.fields);
    }
    this.#boundary("stored");
    this.#clear(work, "rotation_failed", "rotation_stuck");
  }

  /** A call that the provider refused made nothing, so nothing has to be looked for before the next one. */
  async #ask(work: Work, create: () => Promise<MintedKey>): Promise<MintedKey> {
    try {
      return await create();
    } catch (error) {
      if (error instanceof RotatorError && error.refused) {
        const { asked } = work.automatic;
        const said = { action: "rotation.refused", detail: { attempt: asked } };
        change(this.#deps.vault, work, { automatic: { asked: asked - 1 } }, said);
      }
      throw error;
    }
  }

  /** A key that nobody can remember any more is ended at once. */
  async #store(work: Work, rotator: Rotator, holders: Holders, key: MintedKey): Promise<void> {
    try {
      storeKey(this.#deps.vault, work, key);
    } catch (error) {
      const lost = error instanceof Superseded || (error instanceof VaultError && error.code === "not_found");
      if (!lost) throw error;
      const old = { ...holders.old, fields: key.fields };
      await rotator.revoke({ ...contextOf(work, holders), old }, key.keyId).catch(() => this.#orphaned(work));
      throw new Superseded();
    }
  }

  async #end(begun: Work, rotator: Rotator, holders: Holders): Promise<void> {
    const { vault, now } = this.#deps;
    let work = begun;
    const { oldKey } = work.automatic;
    const context = contextOf(work, holders);
    if (work.automatic.revokedAt === null && oldKey !== null) {
      await rotator.revoke(context, oldKey);
      this.#boundary("revoked");
      const said = { action: "rotation.revoked", detail: { key: oldKey } };
      work = change(vault, work, { automatic: { revokedAt: now() } }, said);
      this.#boundary("revocation-stored");
    }
    if (!holders.readable) return this.#finish(work, { proof: "none: the old version was revoked here before" });
    const proof = await rotator.proveDead(context);
    this.#boundary("proved");
    if (!proof.dead) throw this.#alive(work, proof.status);
    this.#finish(work, { proof: "refused by the provider", status: proof.status, at: new Date(now()).toISOString() });
    this.#boundary("finished");
  }

  #finish(work: Work, evidence: Readonly<Record<string, string | number>>): void {
    const { from, to } = work.rotation;
    const changes = { phase: "done", since: this.#deps.now(), attempts: 0, nextTryAt: null, problem: null } as const;
    const detail = {
      version: to ?? 0,
      old_version: from ?? 0,
      old_key: work.automatic.oldKey ?? "unknown",
      ...evidence,
    };
    change(this.#deps.vault, work, changes, { action: "rotation.old-key-dead", detail }, (transaction) =>
      revokeHere(transaction, work.name, from),
    );
    this.#clear(work, "old_key_alive", "rotation_blocked", "rotation_stuck", "rotation_failed");
  }

  /** The old key of a revoked id still works, or nobody told its id: then it has to be ended by hand. */
  #alive(work: Work, status: number): RotatorError {
    const { revokedAt, oldKey } = work.automatic;
    const since = revokedAt ?? work.rotation.since;
    const object = objectOf(work);
    const what = `the old key of "${work.name}" (version ${work.rotation.from})`;
    if (oldKey === null) {
      const message = `${what} is of unknown id and still works (${status}); end it at the provider, sidekey then notices`;
      this.#deps.alerts.raise("old_key_alive", object, "critical", message);
      return new RotatorError("retry", message);
    }
    const message = `${what}, ${oldKey}, still works after it was ended (${status})`;
    if (this.#deps.now() - since >= DEATH_GRACE_MS) {
      this.#deps.alerts.raise("old_key_alive", object, "critical", `${message}; end it at the provider by hand`);
    }
    return new RotatorError("retry", message);
  }

  /** The rotation has failed, so the key that it made is ended too: nothing of it may stay at the provider. */
  async #undo(work: Work, rotator: Rotator, holders: Holders): Promise<void> {
    const { newKey } = work.automatic;
    if (newKey === null) return;
    await rotator.revoke(contextOf(work, holders), newKey);
    this.#boundary("undone");
    const said = { action: "rotation.undone", detail: { key: newKey, version: work.rotation.to ?? 0 } };
    const changes = { attempts: 0, nextTryAt: null, automatic: { newKey: null } };
    change(this.#deps.vault, work, changes, said, (transaction) => {
      revokeHere(transaction, work.name, work.rotation.to);
    });
    this.#clear(work, "rotation_blocked", "rotation_stuck");
  }

  /** Writes down when it is tried again, or that it is not. */
  #failed(work: Work, error: unknown): void {
    if (error instanceof Superseded || error instanceof VaultSealedError) return;
    const { now, random } = this.#deps;
    const { permanent, problem, retryAfterMs } = describe(error);
    const attempts = work.rotation.attempts + 1;
    const pause = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(20, attempts - 1));
    const wait = permanent ? LONGEST_RETRY_MS : Math.max(pause * (0.5 + random() / 2), retryAfterMs ?? 0);
    const nextTryAt = Math.ceil(now() + wait);
    try {
      if (permanent && work.rotation.phase === "creating") this.#giveUp(work, problem);
      else this.#retryLater(work, { permanent, problem, attempts, nextTryAt });
    } catch (failure) {
      if (!(failure instanceof Superseded)) this.#unwritten.set(work.id, nextTryAt);
    }
  }

  /** Nothing has been changed for the traffic, so nothing is lost but the attempt. */
  #giveUp(work: Work, problem: string): void {
    const changes = { phase: "failed", since: this.#deps.now(), nextTryAt: null, problem } as const;
    const after = change(this.#deps.vault, work, changes, { action: "rotation.fail", detail: { reason: problem } });
    this.#deps.alerts.raise(
      "rotation_failed",
      objectOf(work),
      "warning",
      `rotation of "${work.name}" failed: ${problem}`,
    );
    if (after.automatic.asked > 0) this.#orphaned(after);
  }

  #retryLater(work: Work, next: { permanent: boolean; problem: string; attempts: number; nextTryAt: number }): void {
    const { problem, attempts, nextTryAt } = next;
    const detail = { phase: work.rotation.phase, attempts, problem };
    change(this.#deps.vault, work, { problem, attempts, nextTryAt }, { action: "rotation.retry", detail });
    const message = `rotation of "${work.name}" waits: ${problem}`;
    if (next.permanent) this.#deps.alerts.raise("rotation_blocked", objectOf(work), "critical", message);
    else if (attempts >= STUCK_ATTEMPTS) this.#deps.alerts.raise("rotation_stuck", objectOf(work), "warning", message);
  }

  #orphaned({ name, automatic }: Work): void {
    const message = `a key named ${automatic.token} may have been left at the provider of "${name}" and cannot be found by sidekey; delete it there`;
    this.#deps.alerts.raise("orphan_key", `credential:${name}`, "warning", message);
  }

  #clear(work: Work, ...kinds: readonly AlertKind[]): void {
    for (const kind of kinds) this.#deps.alerts.clear(kind, objectOf(work));
  }

  #boundary(name: string): void {
    this.#deps.testOnlyBoundary?.(name);
  }
}

/** Before anything is made: a key with other fields could not be stored. */
function assertFields({ id, fields }: Rotator, { old }: Holders): void {
  if (old.fields.size === fields.length && fields.every((name) => old.fields.has(name))) return;
  throw new RotatorError(
    "permanent",
    `rotator "${id}" makes keys with the fields ${fields.join(", ")}, which credential "${old.name}" has not`,
  );
}

function contextOf({ rotation, automatic }: Work, { admin, old }: Holders): RotatorContext {
  const { token, settings } = automatic;
  return { admin, old, token, settings, startedAt: rotation.startedAt };
}

/** The text of an unknown error may hold anything, so only its kind is told. */
function describe(error: unknown): { permanent: boolean; problem: string; retryAfterMs: number | null } {
  if (error instanceof RotatorError) {
    return { permanent: error.kind === "permanent", problem: error.message, retryAfterMs: error.retryAfterMs };
  }
  if (error instanceof VaultError) return { permanent: false, problem: error.message, retryAfterMs: null };
  const kind = error instanceof Error ? error.name : "unknown";
  return { permanent: false, problem: `an internal error (${kind}); see the log`, retryAfterMs: null };
}

function sameFields(fields: ReadonlyMap<string, Secret>, old: ReadonlyMap<string, Secret>): boolean {
  return [...fields].every(([name, secret]) => {
    const before = old.get(name);
    return before?.use((a) => secret.use((b) => a.equals(b))) === true;
  });
}

function objectOf({ name }: Work): string {
  return `credential:${name}`;
}

function wipeAll(fields: ReadonlyMap<string, Secret>): void {
  for (const secret of fields.values()) secret.wipe();
}

import type { Secret } from "../secret.ts";
import { RootRotatedError, VaultSealedError, VaultTamperedError } from "../store/errors.ts";
import type { Vault } from "../store/vault.ts";
import type { Unlocker } from "../store/wrappers.ts";

/**
 * Opens and seals the daemon's vault while it runs. A vault that cannot be opened does not stop the daemon: it answers
 * `vault_sealed` until an operator unseals it, or until a wrapper that was out of reach (a KMS) comes back.
 */

const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 300_000;

export interface GateOptions {
  readonly vault: Vault;
  readonly unlockers: readonly Unlocker[];
  /** Called each time the vault has been opened or sealed. */
  readonly onChange: () => void;
  /** Told why it stays sealed, once per reason. */
  readonly onProblem: (problem: string) => void;
}

export class VaultGate {
  readonly #options: GateOptions;
  #problem: string | null = null;
  #retry: NodeJS.Timeout | null = null;
  #retryMs = FIRST_RETRY_MS;
  #opening: Promise<void> | null = null;
  #closed = false;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  get sealed(): boolean {
    return this.#options.vault.sealed;
  }

  /** Why it is sealed, for operators; null while it is not. */
  get problem(): string | null {
    return this.sealed ? this.#problem : null;
  }

  /**
   * Tries every unlocker once. Resolves also when none opens: `sealed` and `problem` tell.
   * @throws DatabaseError and whatever else is not about keys: then the daemon cannot run at all
   */
  open(): Promise<void> {
    this.#opening ??= this.#tryAll(this.#options.unlockers).finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  /** Opens it with the root key that an operator's command opened. The caller wipes `root`. @throws VaultTamperedError */
  async unsealWith(root: Secret): Promise<void> {
    await this.#options.vault.unsealWith(root, "an operator");
    this.#opened();
  }

  /** Wipes every key. It stays sealed until an operator unseals it. */
  seal(): void {
    this.#stopRetrying();
    this.#options.vault.seal();
    this.#problem = "an operator sealed it; `sidekey vault unseal` opens it";
    this.#options.onChange();
  }

  /** A failure elsewhere that may mean that the keys in memory are no longer the vault's. @returns whether it was that */
  noticed(error: unknown): boolean {
    if (!(error instanceof RootRotatedError)) return false;
    this.#options.vault.seal();
    this.#problem = error.message;
    this.#options.onChange();
    this.open().catch(() => this.#scheduleRetry());
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#stopRetrying();
  }

  async #tryAll(unlockers: readonly Unlocker[]): Promise<void> {
    try {
      await this.#options.vault.unseal(unlockers);
      this.#opened();
    } catch (error) {
      if (error instanceof VaultTamperedError) this.#stayedSealed(error.message);
      else if (error instanceof VaultSealedError) {
        this.#stayedSealed(error.message);
        this.#scheduleRetry();
      } else throw error;
    }
  }

  #opened(): void {
    this.#stopRetrying();
    this.#problem = null;
    this.#retryMs = FIRST_RETRY_MS;
    this.#options.onChange();
  }

  #stayedSealed(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem(problem);
  }

  /** Only what needs no person: a question at a terminal every minute helps nobody. */
  #scheduleRetry(): void {
    const unattended = this.#options.unlockers.filter((unlocker) => !needsPerson(unlocker));
    if (unattended.length === 0 || this.#closed || this.#retry !== null) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      if (!this.sealed) return;
      this.#tryAll(unattended).catch(() => this.#scheduleRetry());
    }, this.#retryMs).unref();
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }

  #stopRetrying(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }
}

function needsPerson({ kind }: { readonly kind: string }): boolean {
  return kind === "passphrase" || kind === "shares";
}

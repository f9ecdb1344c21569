import type { Answer } from "./answer.ts";
import type { AnswerWatch } from "./answer-watch.ts";
import type { AttemptNote } from "./attempts-field.ts";
import type { Choice } from "./choose.ts";
import type { Transfer } from "./forward.ts";
import type { Injection } from "./inject.ts";
import type { Attempt } from "./pool-health.ts";
import type { Pass } from "./provider-limits.ts";

export interface TryParts {
  /** Null on a route without a credential. */
  readonly choice: Choice | null;
  readonly health: Attempt;
  readonly pass: Pass | null;
  readonly watch: AnswerWatch;
  readonly transfer: Transfer;
}

/** One try of an exchange: the key that it uses, what is held for it, and what came back. */
export class Try {
  readonly #parts: TryParts;
  injection: Injection | null = null;
  answer: Answer | null = null;

  constructor(parts: TryParts) {
    this.#parts = parts;
  }

  get choice(): Choice | null {
    return this.#parts.choice;
  }

  get watch(): AnswerWatch {
    return this.#parts.watch;
  }

  get transfer(): Transfer {
    return this.#parts.transfer;
  }

  /** No answer came. */
  failed(): void {
    if (this.watch.head === null) this.#parts.health.failed();
  }

  /** As the client is told of it. */
  note(): AttemptNote {
    const { choice, watch } = this.#parts;
    const { head, meaning } = watch;
    return {
      credential: choice?.credential.name ?? null,
      version: choice?.version ?? 0,
      status: head?.status ?? null,
      meaning: head === null ? "connect" : (meaning ?? "unknown"),
    };
  }

  /**
   * Gives back what is held for it. Harmless when it is done twice.
   * @param outputTokens that the answer had; null when nobody knows
   */
  close(outputTokens: number | null): void {
    const { health, pass, transfer } = this.#parts;
    health.abandoned();
    if (transfer.sent) pass?.over(outputTokens);
    else pass?.unsent();
    this.injection?.release();
    this.injection = null;
  }
}

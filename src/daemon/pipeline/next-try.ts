import type { RetryReason, Route } from "../../policy/compile.ts";
import { type Choice, type Chooser, triedKey } from "./choose.ts";
import type { SetTimer } from "./clock.ts";
import { ProxyError } from "./errors.ts";
import type { ExchangeState } from "./exchange-state.ts";
import { limitRequests } from "./own-limits.ts";
import type { PoolHealth, VersionUse } from "./pool-health.ts";
import { type Failure, repeatHints, retryVerdict } from "./retry.ts";
import type { RetryBudget } from "./retry-budget.ts";

export interface NextTryDeps {
  readonly chooser: Chooser;
  readonly health: Pick<PoolHealth, "ready">;
  readonly retryBudget: RetryBudget;
  /** A request is sent again. */
  readonly retried: (route: string, reason: RetryReason) => void;
  readonly setTimer: SetTimer;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** 0 to below 1. */
  readonly random: () => number;
}

/** Which credential an exchange uses, first and after a failure. */
export class NextTry {
  readonly #route: Route;
  readonly #x: ExchangeState;
  readonly #authority: string;
  readonly #bodyHeld: boolean;
  readonly #deps: NextTryDeps;
  /** What this exchange has used, by `triedKey`. */
  readonly #used = new Set<string>();
  #planned: { readonly choice: Choice | null; readonly afterMs: number } | null = null;

  constructor(route: Route, x: ExchangeState, authority: string, bodyHeld: boolean, deps: NextTryDeps) {
    this.#route = route;
    this.#x = x;
    this.#authority = authority;
    this.#bodyHeld = bodyHeld;
    this.#deps = deps;
  }

  /** What the exchange uses now, and where. */
  get use(): VersionUse {
    const { choice, identity } = this.#x;
    return {
      credentialId: choice?.credential.id ?? "",
      version: choice?.version ?? 0,
      authority: this.#authority,
      client: identity.client,
    };
  }

  /** @throws ProxyError when none is ready within that time */
  first(patienceMs: number): Choice | null {
    const { chooser, now, retryBudget } = this.#deps;
    if (this.#route.retry !== null) retryBudget.first(this.#route);
    return chooser.choose(this.#route, this.#x.identity, this.#authority, now(), { patienceMs });
  }

  /** Whether there is another one than those that were used, and the one in use. */
  hasOther(): boolean {
    const { choice, identity } = this.#x;
    const used = choice === null ? this.#used : new Set([...this.#used, triedKey(choice)]);
    return this.#deps.chooser.hasOther(this.#route, identity, this.#authority, this.#deps.now(), used);
  }

  /** Moves on to another one before anything was sent. @returns false when there is none after all */
  instead(): boolean {
    const { choice } = this.#x;
    if (choice !== null) this.#used.add(triedKey(choice));
    const other = this.#other();
    if (other === undefined) return false;
    this.#x.choice = other;
    return true;
  }

  /**
   * Whether there will be another try after this failure. What it needs is taken at once, so that an answer that was
   * refused is never left without one.
   */
  after(failure: Failure, attempts: number): boolean {
    const { retryBudget, retried, random, health, now } = this.#deps;
    const x = this.#x;
    const { retry, provider } = this.#route;
    if (retry === null) return false;
    if (x.choice !== null) this.#used.add(triedKey(x.choice));
    const nowMs = now();
    const standing = health.ready(this.use, nowMs);
    const verdict = retryVerdict({
      failure,
      retry,
      attempts,
      elapsedMs: nowMs - x.atMs,
      method: x.incoming.method,
      hints: repeatHints(x.incoming.fields),
      bodyHeld: this.#bodyHeld,
      answerBegun: x.incoming.downstream.headSent,
      trading: provider.category === "trading",
      sameReady: standing === "ready" || standing === "probe",
      otherReady: this.hasOther(),
      random: random(),
    });
    if (verdict.retry === null || !retryBudget.take(this.#route)) return false;
    const choice = verdict.retry === "other" ? this.#other() : x.choice;
    if (choice === undefined) return false;
    retried(this.#route.id, verdict.reason);
    this.#planned = { choice, afterMs: verdict.afterMs };
    return true;
  }

  /** Waits until the planned try may begin. @throws ProxyError client_closed */
  async begins(): Promise<void> {
    const planned = this.#planned;
    if (planned === null) throw new ProxyError("internal", "sidekey planned no other try");
    this.#planned = null;
    if (planned.afterMs > 0) await pause(planned.afterMs, this.#deps.setTimer, this.#x.clientGone());
    this.#x.choice = planned.choice;
  }

  /** Another credential, with what its limits take; undefined when there is none after all. */
  #other(): Choice | null | undefined {
    const { identity, hold } = this.#x;
    const { chooser, now } = this.#deps;
    try {
      const choice = chooser.choose(this.#route, identity, this.#authority, now(), { tried: this.#used });
      const wanted = limitRequests(this.#route, identity, choice);
      return hold === null || hold.exchange(wanted) ? choice : undefined;
    } catch (error) {
      if (error instanceof ProxyError) return undefined;
      throw error;
    }
  }
}

function pause(ms: number, setTimer: SetTimer, gone: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const left = (): void => {
      cancel();
      reject(new ProxyError("client_closed", "the client closed the connection"));
    };
    const cancel = setTimer(ms, () => {
      gone.removeEventListener("abort", left);
      resolve();
    });
    if (gone.aborted) left();
    else gone.addEventListener("abort", left, { once: true });
  });
}

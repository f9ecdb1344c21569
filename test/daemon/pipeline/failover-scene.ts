import { type AttemptNote, attemptsField } from "../../../src/daemon/pipeline/attempts-field.ts";
import { type Choice, type Chooser, createChooser, triedKey } from "../../../src/daemon/pipeline/choose.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { PoolHealth, type VersionUse } from "../../../src/daemon/pipeline/pool-health.ts";
import { type Failure, type RetryVerdict, retryVerdict } from "../../../src/daemon/pipeline/retry.ts";
import { RetryBudget } from "../../../src/daemon/pipeline/retry-budget.ts";
import type { Route } from "../../../src/policy/compile.ts";
import { classifyTraffic } from "../../../src/providers/classify-traffic.ts";
import { AUTHORITY, credential } from "./pool-fixture.ts";

/** What the provider answers to a request with this credential; null: it hangs up. */
export type ProviderModel = (credential: string, client: string) => number | null;

export interface Ended {
  /** Of the provider's answer that the client gets; null when sidekey answers. */
  readonly status: number | null;
  /** Sidekey's own answer. */
  readonly code: string | null;
  readonly field: string;
}

/** Requests against a provider that is a function, with the real chooser, health, verdict and budget. */
export class FailoverScene {
  readonly calls: { credential: string; client: string; atMs: number }[] = [];
  /** Until when a provider's limit holds a credential, by id. */
  readonly held = new Map<string, number>();
  /** Ids of credentials that the monitor knows to be refused. */
  readonly refused = new Set<string>();
  readonly #route: Route;
  readonly #provider: ProviderModel;
  readonly #health: PoolHealth;
  readonly #chooser: Chooser;
  readonly #budget: RetryBudget;
  #nowMs = 1_700_000_000_000;

  constructor(route: Route, names: readonly string[], provider: ProviderModel) {
    const credentials = names.map((name) => credential(name));
    this.#route = route;
    this.#provider = provider;
    this.#health = new PoolHealth({
      usable: (id) => !this.refused.has(id),
      verifiedAt: () => null,
      heldUntil: (id) => this.held.get(id) ?? null,
      onRefused: () => {},
      now: () => this.#nowMs,
      random: () => 0,
    });
    const byName = (name: string) => credentials.find((one) => one.name === name);
    const table = { ramps: new Map(), byName, ownedBy: () => undefined, isOpen: () => true };
    this.#chooser = createChooser(table, this.#health);
    this.#budget = new RetryBudget(() => this.#nowMs);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  wait(ms: number): void {
    this.#nowMs += ms;
  }

  request(client: string, method: string): Ended {
    const tried = new Set<string>();
    const notes: AttemptNote[] = [];
    this.#budget.first(this.#route);
    let choice: Choice | null = null;
    for (;;) {
      try {
        choice ??= this.#chooser.choose(this.#route, { client, user: null }, AUTHORITY, this.#nowMs, { tried });
      } catch (error) {
        if (!(error instanceof ProxyError)) throw error;
        return { status: null, code: error.code, field: attemptsField(notes) };
      }
      if (choice === null) throw new Error("the scene's route needs a credential");
      const used: Choice = choice;
      const failure = this.#send(used, client);
      const status = failure.kind === "answer" ? failure.status : null;
      const meaning = failure.kind === "answer" ? failure.meaning : "connect";
      notes.push({ credential: used.credential.name, version: used.version, status, meaning });
      tried.add(triedKey(used));
      const { retry } = this.#verdict(failure, used, { client, method, tried, attempts: notes.length });
      if (retry === null || !this.#budget.take(this.#route)) {
        return { status, code: status === null ? "upstream_connect" : null, field: attemptsField(notes) };
      }
      choice = retry === "same" ? used : null;
    }
  }

  #send(used: Choice, client: string): Failure {
    const attempt = this.#health.begin(useOf(used, client));
    this.calls.push({ credential: used.credential.name, client, atMs: this.#nowMs });
    const status = this.#provider(used.credential.name, client);
    if (status === null) {
      attempt.failed();
      return { kind: "connect", written: true };
    }
    const meaning = classifyTraffic(this.#route.provider, { status, body: Buffer.alloc(0), bodyKnown: true });
    attempt.answered(meaning, null);
    attempt.abandoned();
    return { kind: "answer", status, meaning, shouldRetry: null, retryAfterMs: null };
  }

  #verdict(failure: Failure, used: Choice, asked: Asked): RetryVerdict {
    const { client, method, tried, attempts } = asked;
    const identity = { client, user: null };
    return retryVerdict({
      failure,
      retry: this.#route.retry,
      attempts,
      elapsedMs: 0,
      method,
      hints: { idempotencyKey: false, clientRetries: false },
      bodyHeld: true,
      answerBegun: false,
      trading: false,
      sameReady: this.#health.ready(useOf(used, client), this.#nowMs) === "ready",
      otherReady: this.#chooser.hasOther(this.#route, identity, AUTHORITY, this.#nowMs, tried),
      random: 0,
    });
  }
}

interface Asked {
  readonly client: string;
  readonly method: string;
  readonly tried: ReadonlySet<string>;
  readonly attempts: number;
}

function useOf({ credential, version }: Choice, client: string): VersionUse {
  return { credentialId: credential.id, version, authority: AUTHORITY, client };
}

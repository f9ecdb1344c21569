import type { Route } from "../../policy/compile.ts";
import type { AccessTokens } from "./access-token.ts";
import type { Judge } from "./answer.ts";
import type { ReadHead } from "./answer-head.ts";
import { AnswerWatch } from "./answer-watch.ts";
import { ATTEMPTS_FIELD, type AttemptNote, attemptsField } from "./attempts-field.ts";
import type { Call } from "./call.ts";
import { type ProxyError, toProxyError } from "./errors.ts";
import type { ParsedRequest } from "./exchange.ts";
import type { ExchangeState } from "./exchange-state.ts";
import type { Forwarded } from "./forward.ts";
import type { Limiter } from "./limiter.ts";
import { NextTry, type NextTryDeps } from "./next-try.ts";
import { limitRequests } from "./own-limits.ts";
import type { PoolHealth } from "./pool-health.ts";
import type { LiveLimits, Pass } from "./provider-limits.ts";
import { needOf } from "./provider-need.ts";
import { rateLimitFields } from "./ratelimit-fields.ts";
import { connectFailure, type Failure, shouldRetry } from "./retry.ts";
import { authorityOf, routePlan, type SendDeps, send } from "./send.ts";
import { Try } from "./try.ts";

/** A try that was not the last one of its exchange. */
export interface EarlierTry extends AttemptNote {
  readonly provider: string;
  readonly host: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

export interface AttemptDeps extends SendDeps, NextTryDeps {
  readonly limiter: Pick<Limiter, "states">;
  readonly health: Pick<PoolHealth, "begin" | "ready">;
  readonly liveLimits: Pick<LiveLimits, "enter">;
  readonly accessTokens: AccessTokens;
  readonly vaultSealed: () => boolean;
  /** A request queued for a limit of sidekey's own, or of its `provider`. */
  readonly limitWaited: (route: string, limit: string, waitMs: number) => void;
  readonly triedBefore: (earlier: EarlierTry) => void;
  /** Milliseconds since the epoch, from the clock of the providers' limits, which does not go back. */
  readonly limitsNowMs: () => number;
}

/** How long a request waits for its provider's limits, in ms: on a route with `pace`, and where a 429 holds its key. */
export const PACE_MS = 10_000;
export const PATIENCE_MS = 2_000;

/** The tries of one exchange: usually one. */
export class Attempts {
  readonly #route: Route;
  readonly #x: ExchangeState;
  readonly #parsed: ParsedRequest;
  readonly #call: Call;
  readonly #deps: AttemptDeps;
  readonly #tries: Try[] = [];
  readonly #next: NextTry;

  constructor(route: Route, x: ExchangeState, parsed: ParsedRequest, call: Call, deps: AttemptDeps) {
    this.#route = route;
    this.#x = x;
    this.#parsed = parsed;
    this.#call = call;
    this.#deps = deps;
    this.#next = new NextTry(route, x, authorityOf(parsed), call.bodyHeld, deps);
  }

  /** The running one, or the last. */
  get last(): Try | null {
    return this.#tries.at(-1) ?? null;
  }

  get call(): Call {
    return this.#call;
  }

  /** Fields that tell the client what happened, flat; nothing on a route that never tries again. */
  fields(): string[] {
    if (this.#route.retry === null || this.#tries.length === 0) return [];
    return [ATTEMPTS_FIELD, attemptsField(this.#tries.map((each) => each.note()))];
  }

  /** Which credential is used; the limits of the route are taken after that. @throws ProxyError when none is ready */
  choose(): void {
    this.#x.choice = this.#next.first(this.#patienceMs);
  }

  /**
   * Sends the request until an answer has gone to the client.
   * @throws ProxyError when there was none
   */
  async run(): Promise<Forwarded> {
    for (;;) {
      const forwarded = await this.#once();
      if (forwarded !== null) return forwarded;
      this.#leave();
      await this.#next.begins();
    }
  }

  get #patienceMs(): number {
    return this.#route.pace ? PACE_MS : PATIENCE_MS;
  }

  /** Null when it is to be tried again. */
  async #once(): Promise<Forwarded | null> {
    const entered = this.#enter();
    const pass = entered instanceof Promise ? await entered : entered;
    const current = this.#begin(pass);
    try {
      const token = this.#token();
      if (token) await token;
      const forwarded = await this.#send(current);
      if (forwarded.kind === "upgraded") current.watch.upgraded();
      return forwarded.kind === "refused" ? null : forwarded;
    } catch (error) {
      if (this.#failedAgain(current, toProxyError(error))) return null;
      throw error;
    }
  }

  /** Waits for the provider's limits where it has to; null on a route without a credential. */
  #enter(): Pass | null | Promise<Pass | null> {
    const { liveLimits } = this.#deps;
    const { choice, identity } = this.#x;
    const { facts } = this.#call;
    if (choice === null) return null;
    const others = this.#route.pace && this.#next.hasOther();
    try {
      const entered = liveLimits.enter(
        {
          credential: choice.credential,
          version: choice.version,
          client: identity.client,
          scope: facts.model ?? this.#parsed.target.host,
          pace: this.#route.pace,
          need: needOf(facts.expected),
          // Where there is another key nobody waits for this one.
          maxWaitMs: others ? 0 : this.#patienceMs,
        },
        () => this.#x.clientGone(),
      );
      return entered instanceof Promise ? this.#waited(entered) : entered;
    } catch (error) {
      if (!others || !this.#next.instead()) throw error;
      return this.#enter();
    }
  }

  async #waited(entering: Promise<Pass>): Promise<Pass> {
    const queuedAt = performance.now();
    try {
      return await entering;
    } finally {
      const waitMs = performance.now() - queuedAt;
      this.#x.waitMs += waitMs;
      this.#deps.limitWaited(this.#route.id, "provider", waitMs);
    }
  }

  #begin(pass: Pass | null): Try {
    const { health, limitsNowMs } = this.#deps;
    const x = this.#x;
    const attempt = health.begin(this.#next.use);
    const current = new Try({
      choice: x.choice,
      health: attempt,
      pass,
      watch: new AnswerWatch({
        provider: this.#route.provider,
        call: this.#call,
        attempt,
        pass,
        nowMs: limitsNowMs,
      }),
      transfer: x.nextTransfer(),
    });
    this.#tries.push(current);
    return current;
  }

  /** Where the provider takes an access token, gets one for the chosen version. Null when there is nothing to wait for. */
  #token(): Promise<void> | null {
    const x = this.#x;
    const { choice } = x;
    const rule = choice && routePlan(this.#route, x, this.#parsed.target)?.token;
    if (!rule || choice === null || this.#deps.vaultSealed()) return null;
    const taken = this.#deps.accessTokens.take(choice.credential, choice.version, rule);
    if (!(taken instanceof Promise)) {
      x.choice = { ...choice, token: taken };
      return null;
    }
    return taken.then((token) => {
      x.choice = { ...choice, token };
    });
  }

  #send(current: Try): Promise<Forwarded> {
    const hooks = { judge: this.#judge(current), ownFields: () => this.#ownFields() };
    return send(this.#route, this.#x, this.#parsed, this.#call, current, hooks, this.#deps);
  }

  /** Where the client stands with the limits of its route, and which tries it took. */
  #ownFields(): string[] {
    const { limits, response } = this.#route;
    if (limits.length === 0 || !response.rateLimit) return this.fields();
    const wanted = limitRequests(this.#route, this.#x.identity, this.#x.choice);
    return [...rateLimitFields(this.#deps.limiter.states(wanted)), ...this.fields()];
  }

  #judge({ watch }: Try): Judge | null {
    if (this.#route.retry === null) return null;
    return {
      needsBody: (head) => watch.needsBody(head),
      accepts: (head, body) => {
        const meaning = watch.judged(head, body);
        return meaning === "ok" || !this.#next.after(this.#refusal(head, watch), this.#tries.length);
      },
    };
  }

  #refusal(head: ReadHead, { meaning, limits }: AnswerWatch): Failure {
    const retryAtMs = limits?.retryAtMs ?? null;
    return {
      kind: "answer",
      status: head.status,
      meaning: meaning ?? "unknown",
      shouldRetry: shouldRetry(head.field("x-should-retry")),
      retryAfterMs: retryAtMs === null ? null : Math.max(0, retryAtMs - this.#deps.limitsNowMs()),
    };
  }

  /** Whether it ended in a way after which it is tried again. */
  #failedAgain(current: Try, error: ProxyError): boolean {
    const failure = connectFailure(error, current.transfer.sent);
    if (failure === null) return false;
    current.failed();
    const { watch } = current;
    const { head } = watch;
    if (head === null) return this.#next.after(failure, this.#tries.length);
    // Sidekey could not read the answer; the next one would be the same.
    if (error.code === "upstream_protocol" || this.#x.incoming.downstream.headSent) return false;
    // It broke off while it was judged: its head has said enough, or nothing.
    const isRefusal = watch.judged(head, null) !== "ok";
    return this.#next.after(isRefusal ? this.#refusal(head, watch) : failure, this.#tries.length);
  }

  /** The last try is over, and another one will follow. */
  #leave(): void {
    const { last } = this;
    if (last === null) return;
    const { provider } = this.#route;
    const { host } = this.#parsed.target;
    this.#deps.triedBefore({ ...last.note(), provider: provider.id, host, atMs: this.#x.atMs });
    last.close(null);
  }
}

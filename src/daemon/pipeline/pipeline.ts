import { NOTHING_KNOWN } from "../../policy/budget.ts";
import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { type Decision, decide } from "../../policy/decide.ts";
import { bucketKey } from "../../policy/limit.ts";
import { readJsonPointer } from "../../providers/auth/body-json.ts";
import type { AccessTokens } from "./access-token.ts";
import { authenticate, type TokenVerifier } from "./authenticate.ts";
import { bufferBody } from "./buffered-body.ts";
import { authorityCarriers } from "./carriers.ts";
import type { Chooser } from "./choose.ts";
import { ClientCounter } from "./client-counter.ts";
import { denial } from "./denial.ts";
import type { Dialer } from "./dial.ts";
import { draining, type ProxyError, toProxyError, vaultSealed } from "./errors.ts";
import type { Incoming, Outcome, ParsedRequest } from "./exchange.ts";
import { ExchangeState } from "./exchange-state.ts";
import type { Limiter, LimiterHold } from "./limiter.ts";
import type { SecretPool } from "./secret-pool.ts";
import { authorityOf, routePlan, scrubRule, send } from "./send.ts";
import type { Splice } from "./splice.ts";
import { relayWebSocket } from "./websocket.ts";

export interface PipelineOptions {
  readonly policy: () => PolicySnapshot;
  readonly tokens: () => TokenVerifier;
  readonly chooser: Chooser;
  readonly limiter: Limiter;
  readonly secrets: SecretPool;
  readonly splice: Splice;
  readonly dialer: Dialer;
  readonly accessTokens: AccessTokens;
  readonly vaultSealed: () => boolean;
  readonly draining: () => boolean;
  /** Exchanges that one client may have in flight. */
  readonly maxPerClient: number;
  readonly limitWaited: (route: string, limit: string, waitMs: number) => void;
  readonly record: (outcome: Outcome, failure: ProxyError | null) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export type Pipeline = (incoming: Incoming) => Promise<void>;

/** One request, in order. Every way out of it leaves exactly one Outcome (guarantee G12). */
export function createPipeline(options: PipelineOptions): Pipeline {
  const inFlight = new ClientCounter(options.maxPerClient);
  return async function runExchange(incoming: Incoming): Promise<void> {
    const x = new ExchangeState(incoming, options.now());
    let failure: ProxyError | null = null;
    try {
      if (options.draining()) throw draining();
      const policy = options.policy();
      x.parsed = incoming.parse(policy);
      // Before anybody is asked who they are: without the vault no token can be checked.
      if (options.vaultSealed()) throw vaultSealed();
      const pointer = bodyKeyPointer(policy, x, x.parsed);
      const body = pointer === null ? null : await keyedBody(x, x.parsed);
      const bodyToken = pointer === null || body === null ? null : readJsonPointer(body, pointer);
      const route = admit(policy, x, x.parsed, bodyToken, options);
      inFlight.enter(x);
      x.choice = options.chooser.choose(route, x.identity, authorityOf(x.parsed), x.atMs);
      const waiting = reserve(route, x, options);
      if (waiting) await waiting;
      const exchanged = exchangeForToken(route, x, x.parsed, options);
      if (exchanged) await exchanged;
      const forwarded = await send(route, x, x.parsed, body, options);
      if (forwarded.kind === "upgraded") {
        const relay = { idleMs: route.timeouts.idleMs, scrub: scrubRule(route, x.injection) };
        await relayWebSocket(forwarded, x.parsed.websocketKey ?? "", x, relay);
      }
    } catch (error) {
      failure = toProxyError(error);
      x.fail(failure);
    } finally {
      inFlight.leave(x);
      x.release();
      options.record(x.outcome(), failure);
    }
  };
}

/** Authenticates and decides. Nothing has been resolved, dialled or opened before this allows it (guarantee G3). */
function admit(
  policy: PolicySnapshot,
  x: ExchangeState,
  { target }: ParsedRequest,
  bodyToken: string | null,
  options: PipelineOptions,
): Route {
  const { incoming } = x;
  const carriers = authorityCarriers(policy, target.host, target.port);
  x.identity = authenticate(
    policy,
    options.tokens(),
    {
      fields: incoming.fields,
      query: target.query,
      carriers,
      connectAuthorization: incoming.connectAuthorization,
      bodyToken,
      remoteAddress: incoming.remoteAddress,
    },
    x.atMs,
  );
  const decision: Decision = decide(policy, {
    host: target.host,
    port: target.port,
    path: target.path,
    method: incoming.method,
    client: x.identity.client,
    phase: "request",
  });
  x.route = decision.route;
  if (!decision.allow) throw denial(decision, x.identity.client);
  return decision.route;
}

/** Takes one grant of every limit of the route. Null when it had not to wait, which spares the promise. */
function reserve(route: Route, x: ExchangeState, options: PipelineOptions): Promise<void> | null {
  if (route.limits.length === 0) return null;
  const ids = {
    client: x.identity.client,
    credential: x.choice?.credential.name ?? null,
    provider: route.provider.id,
    route: route.id,
    user: x.identity.user,
  };
  const wanted = route.limits.map((spec) => ({ spec, key: bucketKey(spec, ids) }));
  const caller = { client: x.identity.client, ask: NOTHING_KNOWN, gone: () => x.clientGone() };
  const reserved = options.limiter.reserve(wanted, caller);
  if (reserved instanceof Promise) return waitFor(reserved, route, x, options);
  x.hold = reserved;
  return null;
}

async function waitFor(
  reserved: Promise<LimiterHold>,
  route: Route,
  x: ExchangeState,
  options: PipelineOptions,
): Promise<void> {
  const queuedAt = performance.now();
  try {
    x.hold = await reserved;
  } finally {
    x.waitMs = performance.now() - queuedAt;
  }
  if (x.hold.waited) options.limitWaited(route.id, x.hold.waited.limit, x.hold.waited.ms);
}

/** Where the provider takes an access token, gets one for the chosen version. Null when there is nothing to wait for. */
function exchangeForToken(
  route: Route,
  x: ExchangeState,
  { target }: ParsedRequest,
  options: PipelineOptions,
): Promise<void> | null {
  const rule = x.choice && routePlan(route, x, target)?.token;
  if (!rule || x.choice === null || options.vaultSealed()) return null;
  const { choice } = x;
  const taken = options.accessTokens.take(choice.credential, choice.version, rule);
  if (!(taken instanceof Promise)) {
    x.choice = { ...choice, token: taken };
    return null;
  }
  return taken.then((token) => {
    x.choice = { ...choice, token };
  });
}

/** Where in a JSON body this provider takes its key, and so the client may show its token; null when it does not. */
function bodyKeyPointer(policy: PolicySnapshot, x: ExchangeState, parsed: ParsedRequest): string | null {
  if (parsed.body === null) return null;
  const candidate = policy.byAuthority.get(authorityOf(parsed))?.[0];
  return (candidate && routePlan(candidate, x, parsed.target)?.body?.pointer) ?? null;
}

async function keyedBody(x: ExchangeState, parsed: ParsedRequest): Promise<Buffer | null> {
  if (parsed.body === null) return null;
  if (parsed.expectContinue) x.incoming.downstream.sendContinue();
  return bufferBody(parsed.body, parsed.bodyLength);
}

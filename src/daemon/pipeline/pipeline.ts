import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { type Decision, decide } from "../../policy/decide.ts";
import { authorityKey } from "../../policy/host.ts";
import { bucketKey } from "../../policy/limit.ts";
import { BodyError, readJsonPointer, rewriteJsonBody } from "../../providers/auth/body-json.ts";
import type { InjectionPlan } from "../../providers/auth/plan.ts";
import { planFor, selectAuth } from "../../providers/auth/plan.ts";
import type { AccessTokens } from "./access-token.ts";
import { authenticate, type TokenVerifier } from "./authenticate.ts";
import { bufferBody } from "./buffered-body.ts";
import { authorityCarriers } from "./carriers.ts";
import type { Chooser } from "./choose.ts";
import { denial } from "./denial.ts";
import type { Dialer } from "./dial.ts";
import { draining, type ProxyError, ProxyError as Refusal, toProxyError, vaultSealed } from "./errors.ts";
import type { Incoming, Outcome, ParsedRequest, RequestTarget } from "./exchange.ts";
import { ExchangeState } from "./exchange-state.ts";
import { forward, type Upgraded } from "./forward.ts";
import { cleanRequest } from "./headers.ts";
import { type Injection, inject, withoutSecret } from "./inject.ts";
import type { Limiter, LimiterHold } from "./limiter.ts";
import type { OverloadGate } from "./overload.ts";
import type { SecretPool } from "./secret-pool.ts";
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
  readonly gate: OverloadGate;
  readonly limitWaited: (route: string, limit: string, waitMs: number) => void;
  readonly record: (outcome: Outcome, failure: ProxyError | null) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export type Pipeline = (incoming: Incoming) => Promise<void>;

/** One request, in order. Every way out of it leaves exactly one Outcome (guarantee G12). */
export function createPipeline(options: PipelineOptions): Pipeline {
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
      const turn = options.gate.enter(x);
      if (turn) await turn;
      x.choice = options.chooser.choose(route, x.identity, authorityOf(x.parsed), x.atMs);
      const waiting = reserve(route, x, options);
      if (waiting) await waiting;
      const exchanged = exchangeForToken(route, x, x.parsed, options);
      if (exchanged) await exchanged;
      const upgraded = await send(route, x, x.parsed, body, options);
      if (upgraded) await relayWebSocket(upgraded, x.parsed.websocketKey ?? "", x, route.timeouts.idleMs);
    } catch (error) {
      failure = toProxyError(error);
      x.fail(failure);
    } finally {
      options.gate.leave(x);
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
  const reserved = options.limiter.reserve(wanted, () => x.clientGone());
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

/** Injects and forwards. Resolves when the answer is complete, or with the upstream's socket of an upgrade. */
function send(
  route: Route,
  x: ExchangeState,
  parsed: ParsedRequest,
  body: Buffer | null,
  options: PipelineOptions,
): Promise<Upgraded | null> {
  const { incoming } = x;
  const { target } = parsed;
  const injection = prepare(route, x, parsed, options);
  x.injection = injection;
  const keyed = injection.bodyMarker === null ? body : bodyWith(route, x, target, body, injection.bodyMarker);
  if (keyed === null && parsed.body !== null && parsed.bodyLength !== null) {
    injection.fields.push("Content-Length", String(parsed.bodyLength));
  }
  if (parsed.expectContinue && body === null) incoming.downstream.sendContinue();
  const dispatcher = options.dialer.pool({
    host: target.host,
    port: target.port,
    route: route.id,
    client: x.identity.client,
    tls: route.upstream === "https",
    private: route.private,
    connectTimeoutMs: route.timeouts.connectMs,
    keepAlive: route.keepAlive,
  });
  x.dispatched();
  return forward(
    dispatcher,
    {
      method: incoming.method,
      path: injection.query === "" ? target.path : `${target.path}?${injection.query}`,
      fields: injection.fields,
      body: keyed ?? parsed.body,
      headersTimeoutMs: route.timeouts.headersMs,
      idleTimeoutMs: route.timeouts.idleMs,
      keepAlive: route.keepAlive,
      upgrade: parsed.websocketKey === null ? null : "websocket",
      response: x.responseRules(route),
      spliced: injection.spliced,
    },
    incoming.downstream,
    x.transfer,
  );
}

/** Cleans the request of every key a client could send, then injects, in this order (guarantee G4). */
function prepare(route: Route, x: ExchangeState, parsed: ParsedRequest, options: PipelineOptions): Injection {
  const clean = cleanRequest(x.incoming.fields, parsed.target.query, route.provider.carriers);
  const plan = routePlan(route, x, parsed.target);
  if (x.choice === null || plan === null) return withoutSecret(clean, route);
  const binding = { authority: authorityOf(parsed), route: route.id, client: x.identity.client };
  return inject(clean, plan, x.choice, route, binding, options);
}

function routePlan(route: Pick<Route, "provider">, x: ExchangeState, target: RequestTarget): InjectionPlan | null {
  const rule = selectAuth(route.provider, { host: target.host, method: x.incoming.method, path: target.path });
  return rule.scheme === "none" ? null : planFor(rule);
}

function authorityOf({ target }: ParsedRequest): string {
  return authorityKey(target.host, target.port);
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

function bodyWith(route: Route, x: ExchangeState, target: RequestTarget, body: Buffer | null, marker: string): Buffer {
  const place = routePlan(route, x, target)?.body;
  if (!place || body === null) {
    throw new Refusal("bad_request", "this request needs a JSON body, because the provider takes its key there", {
      reason: "body_missing",
      route: route.id,
    });
  }
  try {
    return rewriteJsonBody(body, place.pointer, marker, route.provider.carriers.body);
  } catch (cause) {
    if (!(cause instanceof BodyError)) throw cause;
    throw new Refusal("bad_request", `the JSON body cannot take the key: ${cause.message}`, {
      reason: `body_${cause.reason}`,
      route: route.id,
    });
  }
}

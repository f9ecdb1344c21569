import type { PolicySnapshot, Route } from "../../policy/compile.ts";
import { type Decision, decide } from "../../policy/decide.ts";
import type { PriceTable } from "../../policy/price-table.ts";
import { readJsonPointer } from "../../providers/auth/body-json.ts";
import { type AttemptDeps, Attempts } from "./attempts.ts";
import { authenticate, type TokenVerifier } from "./authenticate.ts";
import { bufferBody } from "./buffered-body.ts";
import { prepareCall } from "./call.ts";
import { authorityCarriers } from "./carriers.ts";
import { denial } from "./denial.ts";
import { draining, type ProxyError, toProxyError, vaultSealed } from "./errors.ts";
import type { Incoming, Outcome, ParsedRequest } from "./exchange.ts";
import { ExchangeState } from "./exchange-state.ts";
import type { Limiter } from "./limiter.ts";
import type { OverloadGate } from "./overload.ts";
import { type OwnLimitDeps, reserve } from "./own-limits.ts";
import { authorityOf, routePlan, scrubRule } from "./send.ts";
import { type SettleDeps, settle } from "./settle.ts";
import type { Tripwire } from "./tripwire.ts";
import { relayWebSocket } from "./websocket.ts";

export interface PipelineOptions extends AttemptDeps, OwnLimitDeps, SettleDeps {
  readonly policy: () => PolicySnapshot;
  readonly tokens: () => TokenVerifier;
  readonly limiter: Limiter;
  readonly prices: () => PriceTable;
  readonly tripwire: Tripwire;
  readonly draining: () => boolean;
  readonly gate: OverloadGate;
  readonly record: (outcome: Outcome, failure: ProxyError | null) => void;
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
      x.policy = policy;
      x.parsed = incoming.parse(policy);
      // Before anybody is asked who they are: without the vault no token can be checked.
      if (options.vaultSealed()) throw vaultSealed();
      const pointer = bodyKeyPointer(policy, x, x.parsed);
      const body = pointer === null ? null : await keyedBody(x, x.parsed);
      x.bodyToken = pointer === null || body === null ? null : readJsonPointer(body, pointer);
      const route = admit(policy, x, x.parsed, options);
      const turn = options.gate.enter(x);
      if (turn) await turn;
      await exchange(route, x, x.parsed, body, options);
    } catch (error) {
      failure = toProxyError(error);
      x.fail(failure);
    } finally {
      options.gate.leave(x);
      settle(x, options);
      inspect(x, options);
      options.record(x.outcome(), failure);
    }
  };
}

/** With leave to go on: what it asks for, with which key, within which limits, and then the answer. */
async function exchange(
  route: Route,
  x: ExchangeState,
  parsed: ParsedRequest,
  keyed: Buffer | null,
  options: PipelineOptions,
): Promise<void> {
  const prepared = prepareCall(route, x, parsed, keyed, options.prices());
  const call = prepared instanceof Promise ? await prepared : prepared;
  const attempts = new Attempts(route, x, parsed, call, options);
  x.attempts = attempts;
  attempts.choose();
  const waiting = reserve(route, x, call.ask, options);
  if (waiting) await waiting;
  const forwarded = await attempts.run();
  if (forwarded.kind === "upgraded") {
    const relay = { idleMs: route.timeouts.idleMs, scrub: scrubRule(route, attempts.last?.injection ?? null) };
    await relayWebSocket(forwarded, parsed.websocketKey ?? "", x, relay);
  }
  x.answered = true;
}

/** Looks for keys in what the client has sent, refused or not. */
function inspect(x: ExchangeState, { policy, tripwire }: PipelineOptions): void {
  if (x.parsed === null) return;
  const { host, port, query } = x.parsed.target;
  tripwire.inspect({
    policy: x.policy ?? policy(),
    host,
    port,
    query,
    fields: x.incoming.fields,
    bodyKey: x.bodyToken,
    client: x.identity.client || null,
    route: x.route?.id ?? null,
    atMs: x.atMs,
  });
}

/** Authenticates and decides. Nothing has been resolved, dialled or opened before this allows it (guarantee G3). */
function admit(policy: PolicySnapshot, x: ExchangeState, { target }: ParsedRequest, options: PipelineOptions): Route {
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
      bodyToken: x.bodyToken,
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

/** Where in a JSON body this provider takes its key, and so the client may show its token; null when it does not. */
function bodyKeyPointer(policy: PolicySnapshot, x: ExchangeState, parsed: ParsedRequest): string | null {
  if (parsed.body === null) return null;
  const candidate = policy.byAuthority.get(authorityOf(parsed))?.[0];
  return (candidate && routePlan(candidate, x, parsed.target)?.body?.pointer) ?? null;
}

async function keyedBody(x: ExchangeState, parsed: ParsedRequest): Promise<Buffer | null> {
  if (parsed.body === null) return null;
  if (parsed.expectContinue) x.continued();
  return bufferBody(parsed.body, parsed.bodyLength);
}

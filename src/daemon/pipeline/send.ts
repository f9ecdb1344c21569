import type { Route } from "../../policy/compile.ts";
import { authorityKey } from "../../policy/host.ts";
import { BodyError, rewriteJsonBody } from "../../providers/auth/body-json.ts";
import { type InjectionPlan, planFor, selectAuth } from "../../providers/auth/plan.ts";
import type { AnswerRules } from "./answer.ts";
import type { ReadHead, ScrubRule } from "./answer-head.ts";
import type { Call } from "./call.ts";
import type { Dialer } from "./dial.ts";
import { ProxyError } from "./errors.ts";
import type { ParsedRequest, RequestTarget } from "./exchange.ts";
import type { ExchangeState } from "./exchange-state.ts";
import { type Forwarded, forward } from "./forward.ts";
import { cleanRequest } from "./headers.ts";
import { type Injection, inject, withoutSecret } from "./inject.ts";
import type { MintedRule } from "./minted.ts";
import { askReadable, type ReadableRequest } from "./readable.ts";
import { replacementFor } from "./scrub.ts";
import type { SecretPool } from "./secret-pool.ts";
import type { Splice } from "./splice.ts";
import type { Try } from "./try.ts";

export interface SendDeps {
  readonly secrets: SecretPool;
  readonly splice: Splice;
  readonly dialer: Dialer;
}

/** What the tries of an exchange want of an answer. */
export type AnswerHooks = Pick<AnswerRules, "judge" | "ownFields">;

/** Injects and forwards. Resolves when the answer is complete or refused, or with the upstream's socket of an upgrade. */
export function send(
  route: Route,
  x: ExchangeState,
  parsed: ParsedRequest,
  call: Call,
  current: Try,
  hooks: AnswerHooks,
  deps: SendDeps,
): Promise<Forwarded> {
  const { incoming } = x;
  const { target } = parsed;
  const { body } = call;
  const { injection, mustEncode } = prepare(route, x, parsed, deps);
  current.injection = injection;
  const keyed = injection.bodyMarker === null ? body : bodyWith(route, x, target, body, injection.bodyMarker);
  if (keyed === null && parsed.body !== null && parsed.bodyLength !== null) {
    injection.fields.push("Content-Length", String(parsed.bodyLength));
  }
  if (parsed.expectContinue && body === null) x.continued();
  const dispatcher = deps.dialer.pool({
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
      body: keyed ?? (call.bodyHeld ? null : parsed.body),
      headersTimeoutMs: route.timeouts.headersMs,
      idleTimeoutMs: route.timeouts.idleMs,
      keepAlive: route.keepAlive,
      upgrade: parsed.websocketKey === null ? null : "websocket",
      answer: { ...answerRules(route, x, target, injection, mustEncode), ...bodyRules(call, current), ...hooks },
      spliced: injection.spliced,
    },
    incoming.downstream,
    current.transfer,
    (answer) => {
      current.answer = answer;
    },
  );
}

interface Prepared extends Pick<ReadableRequest, "mustEncode"> {
  readonly injection: Injection;
}

/** Cleans the request of every key a client could send, then injects, in this order (guarantee G4). */
function prepare(route: Route, x: ExchangeState, parsed: ParsedRequest, deps: SendDeps): Prepared {
  const clean = cleanRequest(x.incoming.fields, parsed.target.query, route.provider.carriers);
  const plan = routePlan(route, x, parsed.target);
  if (x.choice === null || plan === null) return { injection: withoutSecret(clean, route), mustEncode: null };
  const { fields, mustEncode } = route.response.scrub
    ? askReadable(clean.fields)
    : { fields: clean.fields, mustEncode: null };
  const binding = { authority: authorityOf(parsed), route: route.id, client: x.identity.client };
  const injection = inject({ fields, query: clean.query }, plan, x.choice, route, binding, deps);
  return { injection, mustEncode };
}

function answerRules(
  route: Route,
  x: ExchangeState,
  target: RequestTarget,
  injection: Injection,
  mustEncode: AnswerRules["mustEncode"],
): Omit<AnswerRules, "began" | "tap" | "hide" | keyof AnswerHooks> {
  return {
    method: x.incoming.method,
    route: route.id,
    response: {
      stripCookies: route.response.setCookie === "strip",
      stripAuthenticate: route.response.authenticate === "strip",
    },
    scrub: scrubRule(route, injection),
    minted: route.response.tokens === "strip" ? mintedRule(route, x, target) : null,
    mustEncode,
  };
}

const EVENTS = /^text\/event-stream\b/;

/** Looks at the answer, and hides from the client what only sidekey has asked for. */
function bodyRules({ hide }: Call, { watch }: Try): Pick<AnswerRules, "began" | "tap" | "hide"> {
  return {
    began: (head) => watch.began(head),
    tap: (head) => watch.tap(head),
    hide: ({ status, contentType }: ReadHead) => (status < 300 && EVENTS.test(contentType) ? (hide?.() ?? null) : null),
  };
}

/** What to search answers for; null when nothing is. */
export function scrubRule({ response }: Route, injection: Injection | null): ScrubRule | null {
  return response.scrub ? (injection?.scrub ?? null) : null;
}

/** Null for what is no endpoint that mints tokens. */
function mintedRule(route: Route, x: ExchangeState, { host, path }: RequestTarget): MintedRule | null {
  const { method } = x.incoming;
  const rule = route.provider.mints.find((each) => {
    const { hosts, methods, paths } = each;
    if (hosts && !hosts.has(host)) return false;
    return methods.has(method) && paths.some((glob) => glob.matches(path));
  });
  if (rule === undefined) return null;
  return { members: rule.members, replacement: replacementFor(x.choice?.credential.name ?? route.id) };
}

/** Where the provider takes its key in this request; null when it takes none. */
export function routePlan(
  route: Pick<Route, "provider">,
  x: ExchangeState,
  target: RequestTarget,
): InjectionPlan | null {
  const rule = selectAuth(route.provider, { host: target.host, method: x.incoming.method, path: target.path });
  return rule.scheme === "none" ? null : planFor(rule);
}

export function authorityOf({ target }: ParsedRequest): string {
  return authorityKey(target.host, target.port);
}

function bodyWith(route: Route, x: ExchangeState, target: RequestTarget, body: Buffer | null, marker: string): Buffer {
  const place = routePlan(route, x, target)?.body;
  if (!place || body === null) {
    throw new ProxyError("bad_request", "this request needs a JSON body, because the provider takes its key there", {
      reason: "body_missing",
      route: route.id,
    });
  }
  try {
    return rewriteJsonBody(body, place.pointer, marker, route.provider.carriers.body);
  } catch (cause) {
    if (!(cause instanceof BodyError)) throw cause;
    throw new ProxyError("bad_request", `the JSON body cannot take the key: ${cause.message}`, {
      reason: `body_${cause.reason}`,
      route: route.id,
    });
  }
}

import { type Ask, NOTHING_KNOWN } from "../../policy/budget.ts";
import type { Route } from "../../policy/compile.ts";
import { costOf, type PriceTable } from "../../policy/price-table.ts";
import { dialectOf } from "../../providers/usage/dialects.ts";
import {
  type BodyWindow,
  type EventFilter,
  type RequestFacts,
  type RequestHead,
  tokensOf,
  type Units,
  type UsageDialect,
} from "../../providers/usage/usage.ts";
import type { Fields, ParsedRequest } from "./exchange.ts";
import type { ExchangeState } from "./exchange-state.ts";
import { readWindow } from "./request-window.ts";

/** What an exchange asks of its provider, as far as it is known before it is sent. */
export interface Call {
  readonly dialect: UsageDialect;
  readonly facts: RequestFacts;
  /** What it wants of the budgets of its route. */
  readonly ask: Ask;
  /** The whole body; null when there is none, or it is not held and goes out as it comes. */
  readonly body: Buffer | null;
  /** There is no body, or `body` is all of it. */
  readonly bodyHeld: boolean;
  /** Takes out of a stream what sidekey asked for and the client did not; null when it asked for nothing. */
  readonly hide: (() => EventFilter) | null;
}

/**
 * Looks at a request. A promise only when its body has to be read for it.
 * @param keyed the whole body, when it has been read because the provider takes its key there
 * @throws ProxyError client_closed, overloaded; both as rejections
 */
export function prepareCall(
  route: Route,
  x: ExchangeState,
  parsed: ParsedRequest,
  keyed: Buffer | null,
  prices: PriceTable,
): Call | Promise<Call> {
  const dialect = dialectOf(route.provider);
  const head = headOf(x.incoming, parsed);
  if (keyed !== null) {
    return callWith(route, x, dialect, head, { bytes: keyed, whole: true, length: keyed.length }, prices);
  }
  const wanted = parsed.body !== null && (route.retry !== null || dialect.needsBody(head));
  if (!wanted || parsed.body === null) {
    const facts = dialect.readRequest(head, null);
    const ask = askOf(route, facts, x.atMs, prices);
    return { dialect, facts, ask, body: null, bodyHeld: parsed.body === null, hide: null };
  }
  if (parsed.expectContinue) x.continued();
  return readWindow(parsed.body, parsed.bodyLength).then((window) => callWith(route, x, dialect, head, window, prices));
}

function callWith(
  route: Route,
  x: ExchangeState,
  dialect: UsageDialect,
  head: RequestHead,
  window: BodyWindow,
  prices: PriceTable,
): Call {
  const facts = dialect.readRequest(head, dialect.needsBody(head) ? window : null);
  const whole = window.whole ? window.bytes : null;
  const asking = route.askUsage && facts.canAsk && whole !== null ? (dialect.askForUsage?.(whole) ?? null) : null;
  return {
    dialect,
    facts,
    ask: askOf(route, facts, x.atMs, prices),
    body: asking ?? whole,
    bodyHeld: whole !== null,
    hide: asking === null ? null : dialect.hideAsked,
  };
}

function headOf({ method, fields }: { method: string; fields: Fields }, { target }: ParsedRequest): RequestHead {
  return { method, path: target.path, query: target.query, contentType: contentTypeOf(fields) };
}

function contentTypeOf(fields: Fields): string {
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    if (name.length === 12 && name.toLowerCase() === "content-type") return (fields[at + 1] ?? "").toLowerCase();
  }
  return "";
}

function askOf({ limits, provider }: Route, facts: RequestFacts, atMs: number, prices: PriceTable): Ask {
  if (!limits.some(({ budget }) => budget !== null)) return NOTHING_KNOWN;
  const { expected, atMost, model } = facts;
  const cost = (units: Units) => costOf(prices, { provider: provider.id, model, tier: null, units, atMs });
  const probable = cost(expected);
  const most = atMost === null ? null : cost(atMost);
  const priced = probable.unpriced.length === 0 && (most === null || most.unpriced.length === 0);
  return {
    tokens: { expected: tokensOf(expected), atMost: atMost === null ? null : tokensOf(atMost) },
    usd: priced ? { expected: probable.nanoUsd, atMost: most?.nanoUsd ?? null } : null,
  };
}

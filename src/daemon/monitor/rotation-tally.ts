import type { Outcome } from "../pipeline/exchange.ts";

/** What the provider answered to requests with one version. */
export interface Tally {
  requests: number;
  /** 401 and 403. */
  refused: number;
}

/** So few refusals may be one client's mistake. */
const FEWEST_REFUSALS = 3;
/** The old version's rate is worth comparing with after so many requests. */
const ENOUGH_REQUESTS = 20;
/** Until then, this share of the new version's requests has to be refused. */
const CLEAR_SHARE = 0.5;

export function newTally(): Tally {
  return { requests: 0, refused: 0 };
}

/** Whether the provider answered at all; what sidekey or the network ended says nothing about a key. */
export function isAnswered(outcome: Outcome): boolean {
  return outcome.outcome === "ok" && outcome.version !== null;
}

export function count(tally: Tally, status: number): void {
  tally.requests += 1;
  if (status === 401 || status === 403) tally.refused += 1;
}

/**
 * Whether the new version fails where the old one does not: at least 3 refusals and more than twice the old one's
 * rate. Without enough of the old one's traffic to compare with, half of the requests must have been refused.
 */
export function isFailing(fresh: Tally, old: Tally): boolean {
  if (fresh.refused < FEWEST_REFUSALS) return false;
  const rate = fresh.refused / fresh.requests;
  const oldRate = old.requests === 0 ? 0 : old.refused / old.requests;
  return rate > 2 * oldRate && (old.requests >= ENOUGH_REQUESTS || rate >= CLEAR_SHARE);
}

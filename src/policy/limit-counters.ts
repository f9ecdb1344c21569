import { BudgetBucket, type BudgetRules } from "./budget-bucket.ts";
import type { LimitSpec } from "./compile.ts";
import type { LimitRequest, LimitStateRow } from "./limit.ts";
import { RequestBucket } from "./limit-bucket.ts";

/** Counter of a `concurrent` limit. */
export interface ConcurrentBucket {
  held: number;
}

export type Bucket = RequestBucket | ConcurrentBucket | BudgetBucket;

/** What is missing until a request's counters have room. */
export interface Shortage {
  readonly request: LimitRequest;
  /** When enough other counters are idle; null when nobody can know. */
  readonly endsUs: number | null;
}

/** The counters by key; a bounded number of them. One in use is never forgotten. */
export class LimitCounters {
  readonly #buckets = new Map<string, Bucket>();
  readonly #max: number;
  readonly #rules: BudgetRules;

  constructor(max: number, rules: BudgetRules) {
    this.#max = max;
    this.#rules = rules;
  }

  /** The counter of a limit; undefined when it has not been used yet. */
  find(spec: LimitSpec, key: string): Bucket | undefined {
    const bucket = this.#buckets.get(key);
    return bucket !== undefined && fits(bucket, spec) ? bucket : undefined;
  }

  /** Null when there is no room for the counter of a shadow limit, which then goes uncounted. */
  findOrMake(spec: LimitSpec, key: string): Bucket | null {
    const existing = this.find(spec, key);
    if (existing !== undefined) return existing;
    if (spec.mode === "shadow" && this.#buckets.size >= this.#max) return null;
    const bucket = this.#make(spec);
    this.#buckets.set(key, bucket);
    return bucket;
  }

  /** Forgets this counter of the key, not one that has taken its place. */
  drop(key: string, bucket: Bucket): void {
    if (this.#buckets.get(key) === bucket) this.#buckets.delete(key);
  }

  /**
   * A limit for which there is no counter and no room for one has to be denied: to let it through uncounted, or to
   * forget a counter in use, would exceed a limit. Changes nothing.
   */
  shortage(requests: readonly LimitRequest[], clock: number): Shortage | null {
    const { first, excess } = this.#missing(requests);
    if (first === null || excess <= 0) return null;
    const wanted = new Set(requests.map(({ key }) => key));
    const idleTimes = [...this.#buckets].filter(([key]) => !wanted.has(key)).map(([, bucket]) => idleAt(bucket));
    const enoughAt = idleTimes.sort((a, b) => a - b)[excess - 1] ?? Number.POSITIVE_INFINITY;
    if (enoughAt <= clock) return null;
    return { request: first, endsUs: enoughAt === Number.POSITIVE_INFINITY ? null : enoughAt };
  }

  /** Forgets the idle counters when there are too many; `shortage` has seen that they are enough. True when it did. */
  makeRoom(granted: readonly LimitRequest[], clock: number): boolean {
    const { first, excess } = this.#missing(granted);
    if (first === null || excess <= 0) return false;
    const wanted = new Set(granted.map(({ key }) => key));
    for (const [key, bucket] of this.#buckets) {
      if (!wanted.has(key) && idleAt(bucket) <= clock) this.#buckets.delete(key);
    }
    return true;
  }

  exportState(): LimitStateRow[] {
    const rows: LimitStateRow[] = [];
    for (const [key, bucket] of this.#buckets) {
      const state = isConcurrent(bucket) ? null : bucket.exportState();
      if (state !== null) rows.push({ key, state });
    }
    return rows;
  }

  importState(rows: readonly LimitStateRow[], clock: number): void {
    for (const { key, state } of rows) {
      const bucket = BudgetBucket.importState(state, clock, this.#rules) ?? RequestBucket.importState(state, clock);
      if (bucket !== null && bucket.idleAt() > clock && !this.#buckets.has(key)) this.#buckets.set(key, bucket);
    }
  }

  /** The first limit without a counter, and how many counters would be too many. */
  #missing(requests: readonly LimitRequest[]): { first: LimitRequest | null; excess: number } {
    if (this.#buckets.size + requests.length <= this.#max) return { first: null, excess: 0 };
    const missing = requests.filter(({ spec, key }) => spec.mode === "enforce" && this.find(spec, key) === undefined);
    const count = missing.length < 2 ? missing.length : new Set(missing.map(({ key }) => key)).size;
    return { first: missing[0] ?? null, excess: this.#buckets.size + count - this.#max };
  }

  #make({ kind, count, periodMs, burst }: LimitSpec): Bucket {
    if (kind === "concurrent") return { held: 0 };
    return kind === "requests" ? new RequestBucket({ count, periodMs, burst }) : new BudgetBucket(this.#rules);
  }
}

export function isConcurrent(bucket: Bucket): bucket is ConcurrentBucket {
  return !(bucket instanceof RequestBucket) && !(bucket instanceof BudgetBucket);
}

/** Whether the bucket counts what the limit counts; a saved row may say anything. */
function fits(bucket: Bucket, { kind }: LimitSpec): boolean {
  if (kind === "requests") return bucket instanceof RequestBucket;
  return kind === "concurrent" ? isConcurrent(bucket) : bucket instanceof BudgetBucket;
}

/** Time from which a counter may be forgotten. */
function idleAt(bucket: Bucket): number {
  return isConcurrent(bucket) ? Number.POSITIVE_INFINITY : bucket.idleAt();
}

/** What a provider counts. `credits` and `weight` are its own units; a call may cost several. */
export const LIMIT_THINGS = [
  "requests",
  "tokens",
  "input_tokens",
  "output_tokens",
  "credits",
  "weight",
  "orders",
] as const;
export type LimitThing = (typeof LIMIT_THINGS)[number];

/** Over what it counts, as far as it says so; a month is 30 days. */
const PERIOD_MS = {
  second: 1_000,
  "10s": 10_000,
  minute: 60_000,
  "5m": 300_000,
  hour: 3_600_000,
  day: 86_400_000,
  month: 30 * 86_400_000,
} as const;
type LimitPeriod = keyof typeof PERIOD_MS;

/** One limit of a provider: `requests`, `tokens_per_minute`, `orders_per_10s`. A closed set, safe for metrics labels. */
export type LimitKind = LimitThing | `${LimitThing}_per_${LimitPeriod}`;

const PERIODS = Object.keys(PERIOD_MS) as LimitPeriod[];
const PARTS = new Map<LimitKind, { readonly thing: LimitThing; readonly periodMs: number | null }>(
  LIMIT_THINGS.flatMap((thing) => [
    [thing, { thing, periodMs: null }],
    ...PERIODS.map((period) => [`${thing}_per_${period}`, { thing, periodMs: PERIOD_MS[period] }] as const),
  ]),
);

export const LIMIT_KINDS: readonly LimitKind[] = [...PARTS.keys()];

/** @param periodMs null when it is unknown; a period without a name counts as unknown */
export function limitKind(thing: LimitThing, periodMs: number | null): LimitKind {
  const period = PERIODS.find((each) => PERIOD_MS[each] === periodMs);
  return period === undefined ? thing : `${thing}_per_${period}`;
}

/** For a kind that comes from outside (a database); null when it is none. */
export function knownLimitKind(text: string): LimitKind | null {
  return LIMIT_KINDS.find((kind) => kind === text) ?? null;
}

export function limitThing(kind: LimitKind): LimitThing {
  return PARTS.get(kind)?.thing ?? "requests";
}

/** Milliseconds; null when the kind does not say. */
export function limitPeriodMs(kind: LimitKind): number | null {
  return PARTS.get(kind)?.periodMs ?? null;
}

import { z } from "zod";
import { AMOUNT_PATTERN, parseTokenAmount, parseUsdAmount } from "./amount.ts";
import { MAX_RATE_COUNT, parseRate } from "./duration.ts";
import { count, duration, flag, list, object, oneOf, parsed, rate, routeId } from "./schema-value.ts";
import { checkZone } from "./zone.ts";

/** Longest wait for a limit, in milliseconds; a client's own timeout is rarely longer. */
const MAX_WAIT_MS = 10 * 60_000;

/** What a limit can count; each one needs exactly one of them. */
const KINDS = ["requests", "concurrent", "tokens", "usd"] as const;
/** Keys that only mean something for some kinds. */
const ONLY_WITH = {
  burst: ["requests"],
  zone: ["tokens", "usd"],
  strict: ["tokens", "usd"],
  warn: ["tokens", "usd"],
  unpriced: ["usd"],
} as const;

const tokens = parsed(
  "tokens per time, such as 200000/min, 5000000/day or 90000000/month",
  parseTokenAmount,
  AMOUNT_PATTERN,
);
const usd = parsed("dollars per time, such as 25/day, 500/month or 0.50/h", parseUsdAmount, AMOUNT_PATTERN);
const percent = z.int({ error: "must be a whole number from 1 to 100" }).min(1).max(100);

/** One entry of a route's `limits`. */
export const limit = object(
  {
    name: routeId,
    per: list(oneOf(["client", "credential", "provider", "route", "user"]), "what it counts by, such as [credential]"),
    requests: rate.optional(),
    concurrent: count(MAX_RATE_COUNT).optional(),
    tokens: tokens.optional(),
    usd: usd.optional(),
    burst: count(MAX_RATE_COUNT).optional(),
    zone: parsed("a time zone, such as Europe/Berlin", checkZone).optional(),
    strict: flag().optional(),
    unpriced: oneOf(["allow", "deny"]).optional(),
    warn: list(percent, "per cents, such as [50, 80, 95]").optional(),
    wait: duration(0, MAX_WAIT_MS, "10m").optional(),
    mode: oneOf(["enforce", "shadow"]).optional(),
  },
  "{ name: plan, per: [credential], requests: 300/min }",
).superRefine((value, context) => {
  const refuse = (message: string, ...path: string[]) => context.addIssue({ code: "custom", path, message });
  const kinds = KINDS.filter((kind) => value[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) {
    refuse(
      "needs exactly one of requests, concurrent, tokens and usd; write requests: 300/min, concurrent: 20, tokens: 200000/min or usd: 25/day",
    );
    return;
  }
  for (const [key, allowed] of Object.entries(ONLY_WITH)) {
    const written = value[key as keyof typeof ONLY_WITH] !== undefined;
    if (written && !allowed.some((each) => each === kind))
      refuse(`only goes with ${allowed.join(" and ")}; remove it`, key);
  }
  const amount = value.tokens ?? value.usd;
  if (value.zone !== undefined && amount !== undefined && !/\/(?:day|week|month)$/.test(amount)) {
    refuse("only goes with calendar periods; write per day, week or month, or remove it", "zone");
  }
  if (value.burst === undefined || value.requests === undefined) return;
  if (value.burst > parseRate(value.requests).count) {
    refuse(`${value.burst} is more than ${value.requests} allows in its period; write a smaller burst`, "burst");
  }
});

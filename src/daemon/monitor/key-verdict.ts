import { refusesKey } from "../../providers/classify.ts";
import type { TrafficMeaning } from "../../providers/classify-traffic.ts";
import type { Outcome } from "../pipeline/exchange.ts";

/** What an exchange says of the key that it was made with: taken, or to be asked about. Null: nothing. */
export type KeyVerdict = "accepted" | "doubtful" | null;

/** A key that may not do one thing, or whose plan is too small for it, is a key all the same. */
const VERDICTS: Readonly<Partial<Record<TrafficMeaning, KeyVerdict>>> = {
  ok: "accepted",
  plan: "accepted",
  invalid: "doubtful",
  forbidden: "doubtful",
  session: "doubtful",
};

/**
 * By the meaning of the answer where it is known: providers say "bad key" with 400 and with 200 too, and some refuse a
 * live key with 401. Else by the status.
 */
export function keyVerdict({ status, outcome, meaning }: Pick<Outcome, "status" | "outcome" | "meaning">): KeyVerdict {
  if (meaning !== null && meaning !== "unknown") return VERDICTS[meaning] ?? null;
  if (refusesKey(status)) return outcome === "ok" ? "doubtful" : null;
  return meaning === null && status > 0 && status < 400 ? "accepted" : null;
}

/** Whether the provider is to be asked about the key after an answer of this meaning. */
export function isDoubtful(meaning: TrafficMeaning): boolean {
  return VERDICTS[meaning] === "doubtful";
}

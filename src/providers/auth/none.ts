import type { InjectionPlan } from "./plan.ts";

/** Nothing is written: the session lives elsewhere, as in a local gateway. */
export function planNone(): InjectionPlan {
  return { headers: [], query: [], body: null };
}

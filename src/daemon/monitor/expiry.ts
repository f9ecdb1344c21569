import { DAY_MS } from "./health.ts";

/** Days before an expiry on which it is told, once each. */
export const NOTICE_DAYS = [30, 14, 7, 1] as const;

/**
 * Which notice is due: the smallest of 30, 14, 7 and 1 days that has been reached, 0 once it is over, null before.
 * @param leftMs until the expiry; negative afterwards
 */
export function noticeDue(leftMs: number): number | null {
  if (leftMs <= 0) return 0;
  const reached = NOTICE_DAYS.filter((days) => leftMs <= days * DAY_MS);
  return reached.at(-1) ?? null;
}

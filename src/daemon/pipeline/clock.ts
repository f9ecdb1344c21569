/** Calls `fire` once after `afterMs`; the returned function cancels it. */
export type SetTimer = (afterMs: number, fire: () => void) => () => void;

export const nodeTimer: SetTimer = (afterMs, fire) => {
  const timer = setTimeout(fire, afterMs);
  return () => clearTimeout(timer);
};

/** Microseconds since the epoch from the monotonic clock: comparable over restarts, never set back in between. */
export function steadyClockUs(): number {
  return Math.floor((performance.timeOrigin + performance.now()) * 1000);
}

/**
 * Measures how late the event loop is: a timer that is due every `periodMs` tells by how much it came too late. Costs
 * nothing per request.
 * @param told milliseconds, 0 when in time
 * @returns what ends it
 */
export function watchLoopLag(periodMs: number, told: (lateMs: number) => void): { close(): void } {
  let dueAt = performance.now() + periodMs;
  const timer = setInterval(() => {
    const now = performance.now();
    told(Math.max(0, now - dueAt));
    dueAt = now + periodMs;
  }, periodMs);
  timer.unref();
  return { close: () => clearInterval(timer) };
}

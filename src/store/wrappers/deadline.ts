import { UnlockError } from "../errors.ts";

/**
 * Gives `work` so much time and no more: it is told by the signal, but nobody waits for it to listen.
 * @param ms null for no limit
 * @param discard gets what `work` gives too late
 * @throws UnlockError timeout
 */
export async function withDeadline<T>(
  ms: number | null,
  name: string,
  work: (signal: AbortSignal) => Promise<T>,
  discard: (late: T) => void,
): Promise<T> {
  const controller = new AbortController();
  const running = work(controller.signal);
  if (ms === null) return await running;
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new UnlockError("timeout", `${name} did not answer within ${ms} ms; \`timeout\` of its entry changes that`),
      );
      controller.abort();
      running.then(discard, () => undefined);
    }, ms);
  });
  try {
    return await Promise.race([running, limit]);
  } finally {
    clearTimeout(timer);
  }
}

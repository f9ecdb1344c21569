import type { SetTimer } from "../../src/daemon/pipeline/clock.ts";

export interface FakeClock {
  nowUs: () => number;
  setTimer: SetTimer;
  /** Moves time on, firing each timer at its own time and letting promises settle in between. */
  advance(ms: number, afterEach?: () => void): Promise<void>;
  /** Moves time on without firing anything, as when the event loop is busy. */
  skip(ms: number): void;
  /** Timers that are set. */
  pending(): number;
}

interface Timer {
  atUs: number;
  fire: () => void;
}

/** Lets everything settle that only waits for promises. */
export async function turn(): Promise<void> {
  for (let n = 0; n < 5; n++) await null;
}

export function fakeClock(): FakeClock {
  const timers = new Set<Timer>();
  let nowUs = 1_700_000_000_000_000;

  function due(untilUs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of timers) {
      if (timer.atUs <= untilUs && (next === undefined || timer.atUs < next.atUs)) next = timer;
    }
    return next;
  }

  return {
    nowUs: () => nowUs,
    setTimer(afterMs, fire) {
      const timer = { atUs: nowUs + afterMs * 1000, fire };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms, afterEach = () => {}) {
      const untilUs = nowUs + ms * 1000;
      for (let timer = due(untilUs); timer !== undefined; timer = due(untilUs)) {
        timers.delete(timer);
        nowUs = Math.max(nowUs, timer.atUs);
        timer.fire();
        await turn();
        afterEach();
      }
      nowUs = untilUs;
      await turn();
      afterEach();
    },
    skip(ms) {
      nowUs += ms * 1000;
    },
    pending: () => timers.size,
  };
}

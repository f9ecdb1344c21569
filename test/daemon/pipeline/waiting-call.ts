import assert from "node:assert/strict";
import { LimitDenied } from "../../../src/daemon/pipeline/limit-denied.ts";
import type { Caller, LimiterHold } from "../../../src/daemon/pipeline/limiter.ts";
import type { Ask } from "../../../src/policy/budget.ts";
import type { LimitSpec } from "../../../src/policy/compile.ts";
import type { LimitRequest } from "../../../src/policy/limit.ts";

/** How a reservation that has to wait has come out so far. */
export interface Seen {
  hold: LimiterHold | null;
  error: unknown;
}

/** Each limit with a counter of its name. */
export function named(...specs: LimitSpec[]): LimitRequest[] {
  return specs.map((spec) => ({ spec, key: `${spec.kind}\n${spec.name}` }));
}

/** A call of a client that stays, which is expected to use so many tokens. */
export function callOf(client: string, expected = 1, atMost: number | null = expected): Caller {
  const ask: Ask = { tokens: { expected, atMost }, usd: null };
  return { client, ask, gone: () => new AbortController().signal };
}

/** A reservation that is there at once. */
export function atOnce(reserved: LimiterHold | Promise<LimiterHold>): LimiterHold {
  return reserved instanceof Promise ? assert.fail("had to wait") : reserved;
}

/** Watches a reservation that has to wait. */
export function watched(reserved: LimiterHold | Promise<LimiterHold>, onHold: () => void = () => {}): Seen {
  assert.ok(reserved instanceof Promise, "did not have to wait");
  const seen: Seen = { hold: null, error: null };
  reserved.then(
    (hold) => {
      seen.hold = hold;
      onHold();
    },
    (error: unknown) => {
      seen.error = error;
    },
  );
  return seen;
}

/** A function, because the compiler cannot know that a promise has filled `seen` in the meantime. */
export function waitOf(seen: Seen): LimiterHold["waited"] | undefined {
  return seen.hold?.waited;
}

/** The hold that the promise has brought in the meantime. */
export function holdOf(seen: Seen): LimiterHold {
  return seen.hold ?? assert.fail("still waits");
}

export function denialOf(run: () => unknown): LimitDenied {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof LimitDenied, String(error));
    return error;
  }
  return assert.fail("was not denied");
}

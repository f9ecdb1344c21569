import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { createProviderLimits, type LiveLimits, type Pass } from "../../../src/daemon/pipeline/provider-limits.ts";
import { ONE_CALL } from "../../../src/daemon/pipeline/provider-need.ts";
import { type FakeClock, fakeClock, turn } from "../../support/fake-clock.ts";
import { LimitedProvider, type LimitedProviderOptions, limitsOf } from "../../support/limited-provider.ts";

/** Less than what others wait for the first answer of all. */
const LONGEST_TRIP_MS = 1_400;
const CREDENTIAL = { id: "c1", name: "openai-main" };

type Action = Arrival | { do: "advance"; ms: number } | { do: "steal"; count: number };
interface Arrival {
  do: "arrive";
  client: string;
  pace: boolean;
  maxWaitMs: number;
  outMs: number;
  backMs: number;
  /** Of the limit; whole tokens are made of it where tokens are counted. */
  share: number;
  fate: Fate;
}
/** `lost`: the provider has handled it, and its answer never comes. */
type Fate = "answered" | "lost" | "unsent" | "abandoned";

const arrive = (pace: fc.Arbitrary<boolean>): fc.Arbitrary<Action> =>
  fc.record({
    do: fc.constant("arrive" as const),
    client: fc.constantFrom("a", "a", "a", "b", "c"),
    pace,
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    maxWaitMs: fc.constantFrom(0, 500, 5_000, 100_000),
    outMs: fc.integer({ min: 0, max: LONGEST_TRIP_MS / 2 }),
    backMs: fc.integer({ min: 0, max: LONGEST_TRIP_MS / 2 }),
    fate: fc.constantFrom<Fate>(...Array.from({ length: 9 }, (): Fate => "answered"), "lost", "unsent", "abandoned"),
  });
const advance: fc.Arbitrary<Action> = fc.record({
  do: fc.constant("advance" as const),
  ms: fc.oneof(fc.nat(20), fc.nat(400), fc.nat(12_000)),
});
const steal: fc.Arbitrary<Action> = fc.record({
  do: fc.constant("steal" as const),
  count: fc.integer({ min: 1, max: 20 }),
});

const provider: fc.Arbitrary<LimitedProviderOptions> = fc.record({
  refill: fc.constantFrom("window" as const, "bucket" as const),
  counts: fc.constantFrom("requests" as const, "tokens" as const),
  limit: fc.integer({ min: 1, max: 12 }),
  periodMs: fc.constantFrom(1_000, 6_000, 10_000),
  dialect: fc.constantFrom("openai" as const, "anthropic" as const),
});

/** Plays actions against a simulated provider, in front of which the limits stand. */
class Play {
  readonly clock: FakeClock = fakeClock();
  readonly limits: LiveLimits;
  readonly provider: LimitedProvider;
  readonly options: LimitedProviderOptions;
  sent = 0;
  refused = 0;
  gone = 0;
  lost = 0;
  /** The latest time that an answer has asked us to wait for. */
  toldMs = 0;
  sentTooEarly = 0;
  shortened = 0;

  constructor(options: LimitedProviderOptions, random: () => number) {
    this.options = options;
    this.provider = new LimitedProvider(options);
    this.limits = createProviderLimits({
      nowMs: () => this.nowMs(),
      setTimer: this.clock.setTimer,
      random,
      countedTogether: () => null,
    });
  }

  nowMs(): number {
    return this.clock.nowUs() / 1000;
  }

  async run(action: Action): Promise<void> {
    if (action.do === "advance") return this.clock.advance(action.ms);
    if (action.do === "steal") this.provider.steal(action.count, this.nowMs());
    else this.#arrive(action);
    await turn();
  }

  #costOf({ share }: Arrival): number {
    const { counts, limit } = this.options;
    return counts === "requests" ? 1 : Math.max(1, Math.floor(share * share * limit));
  }

  #arrive(action: Arrival): void {
    const gone = new AbortController();
    const refused = (error: unknown): void => {
      assert.ok(error instanceof ProxyError, String(error));
      if (error.code === "client_closed") this.gone += 1;
      else this.refused += 1;
    };
    // Whoever will not wait for the first answer ever goes without knowing anything.
    const need = { ...ONE_CALL, input: this.#costOf(action) };
    const maxWaitMs = this.#known() ? action.maxWaitMs : 100_000;
    const request = { ...action, maxWaitMs, credential: CREDENTIAL, version: 1, scope: "m", need };
    try {
      const entered = this.limits.enter(request, () => gone.signal);
      if (entered instanceof Promise) entered.then((pass) => this.#send(pass, action), refused);
      else this.#send(entered, action);
      if (action.fate === "abandoned") this.clock.setTimer(300, () => gone.abort());
    } catch (error) {
      refused(error);
    }
  }

  #send(pass: Pass, action: Arrival): void {
    const { outMs, backMs, fate } = action;
    if (this.nowMs() < this.toldMs) this.sentTooEarly += 1;
    if (fate === "unsent") {
      this.clock.setTimer(outMs, () => pass.unsent());
      return;
    }
    this.sent += 1;
    this.clock.setTimer(outMs, () => {
      const answer = this.provider.handle(this.nowMs(), this.#costOf(action));
      this.clock.setTimer(backMs, () => {
        // Nothing can be learnt of a credential whose first answers are all lost.
        if (fate !== "lost" || !this.#known()) this.#answered(pass, answer);
        else this.lost += 1;
        pass.over(0);
        pass.over(0);
      });
    });
  }

  #known(): boolean {
    return (this.limits.view(CREDENTIAL.id, 1)?.windows.length ?? 0) > 0;
  }

  #answered(pass: Pass, answer: ReturnType<LimitedProvider["handle"]>): void {
    const before = this.limits.heldUntil(CREDENTIAL.id, 1);
    const limits = limitsOf(answer, this.options.dialect, this.nowMs());
    pass.answered(answer.status, limits);
    const after = this.limits.heldUntil(CREDENTIAL.id, 1);
    if (answer.status !== 429) return;
    this.toldMs = Math.max(this.toldMs, limits.retryAtMs ?? 0);
    if (before !== null && (after ?? 0) < before) this.shortened += 1;
  }

  /** Everybody's wait is over by now. */
  async end(): Promise<void> {
    await this.clock.advance(110_000);
    assert.equal(this.limits.waiting(), 0);
    assert.equal(this.clock.pending(), 0);
  }
}

test("with pace, whatever comes from however many clients, the provider never has to refuse one", async () => {
  const actions = fc.array(fc.oneof({ weight: 4, arbitrary: arrive(fc.constant(true)) }, advance), {
    maxLength: 80,
    size: "max",
  });
  await fc.assert(
    fc.asyncProperty(
      provider,
      actions,
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      async (options, all, random) => {
        const play = new Play(options, () => random.next().value ?? 0);
        for (const action of all) await play.run(action);
        await play.end();
        // An answer that is lost takes what it would have told with it: one more has to be sent to learn that.
        assert.ok(play.provider.refused <= play.lost, `${play.provider.refused} refused, ${play.lost} answers lost`);
        const asked = all.filter((action) => action.do === "arrive" && action.fate !== "unsent").length;
        assert.ok(play.sent + play.refused + play.gone >= asked);
      },
    ),
    { numRuns: 1_000, seed: 5 },
  );
});

test("with or without pace, and whoever else uses the key: after a 429 nothing is sent before the provider's time", async () => {
  const actions = fc.array(fc.oneof({ weight: 4, arbitrary: arrive(fc.boolean()) }, advance, steal), {
    maxLength: 80,
    size: "max",
  });
  let refusals = 0;
  await fc.assert(
    fc.asyncProperty(provider, actions, async (options, all) => {
      const play = new Play(options, () => 0);
      for (const action of all) await play.run(action);
      await play.end();
      assert.equal(play.sentTooEarly, 0);
      assert.equal(play.shortened, 0);
      refusals += play.provider.refused;
    }),
    { numRuns: 600, seed: 5 },
  );
  assert.ok(refusals > 500, `only ${refusals} refusals: the property was hardly tried`);
});

test("pace wastes little: a steady crowd gets nearly everything that the provider gives", async () => {
  for (const refill of ["window", "bucket"] as const) {
    for (const dialect of ["openai", "anthropic"] as const) {
      const play = new Play({ refill, dialect, counts: "requests", limit: 20, periodMs: 10_000 }, () => 0.5);
      for (let n = 0; n < 4_000; n++) {
        const client = n % 3 === 0 ? "a" : "b";
        await play.run({
          do: "arrive",
          client,
          pace: true,
          share: 0,
          maxWaitMs: 2_000,
          outMs: 50,
          backMs: 50,
          fate: "answered",
        });
        await play.run({ do: "advance", ms: 50 });
      }
      await play.end();
      assert.equal(play.provider.refused, 0);
      // 200 s at 2 a second.
      assert.ok(play.sent >= 360, `${refill} ${dialect}: ${play.sent} of 400`);
    }
  }
});

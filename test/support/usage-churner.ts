import { startUsageWriter } from "../../src/store/usage.ts";
import { type PriceCall, recomputeCosts } from "../../src/store/usage-recompute.ts";
import { DAY_MS, MODEL_RECORD, PLAIN_RECORD, USAGE_NOW_MS } from "./usage-fixture.ts";

/**
 * A process that records usage and prices it again and again, without end: to be killed at any moment. Says `round` on
 * stdout whenever everything recorded so far is on disk.
 */
const [path = ""] = process.argv.slice(2);
const writer = startUsageWriter(path, { flushMs: 1, now: () => USAGE_NOW_MS });
const range = { sinceMs: 0, untilMs: USAGE_NOW_MS + DAY_MS };

const priceBy =
  (round: number): PriceCall =>
  ({ units }) => ({
    costNano: round % 3 === 0 ? null : (units.input ?? 0) * round,
    unpriced: round % 2 === 0,
    table: `table-${round}`,
  });

for (let round = 1; ; round++) {
  for (let n = 0; n < 600; n++) {
    const atMs = USAGE_NOW_MS - (n % 3) * DAY_MS;
    writer.record(n % 5 === 0 ? { ...PLAIN_RECORD, atMs } : { ...MODEL_RECORD, atMs, model: `m${n % 250}` });
  }
  await Promise.all([writer.flush(), recomputeCosts(path, priceBy(round), range)]);
  process.stdout.write("round\n");
}

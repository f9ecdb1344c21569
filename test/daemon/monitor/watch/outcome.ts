import type { Outcome } from "../../../../src/daemon/pipeline/exchange.ts";
import { NOTHING_SPENT } from "../../../../src/daemon/pipeline/settle.ts";

/** An exchange that went well, with changes. */
export function outcomeOf(changes: Partial<Outcome> = {}): Outcome {
  return {
    id: "x-1",
    atMs: 1_700_000_000_000,
    form: "absolute",
    method: "GET",
    host: "api.p.example",
    path: "/v1",
    client: "app",
    user: null,
    route: "p",
    provider: "p",
    credential: "main",
    version: 1,
    status: 200,
    outcome: "ok",
    reason: null,
    bytesUp: 0,
    bytesDown: 0,
    totalMs: 5,
    upstreamMs: 4,
    waitMs: 0,
    attempts: 1,
    ...NOTHING_SPENT,
    scrubbed: 0,
    ...changes,
  };
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { BreakerWatch } from "../../../../src/daemon/monitor/watch/breaker-watch.ts";

test("each host is told once when its first breaker opens and once when its last has closed", () => {
  const told: string[] = [];
  const watch = new BreakerWatch({
    breaker: (provider, host, open, atMs) => told.push(`${provider} ${host} ${open ? "open" : "closed"} ${atMs}`),
  });
  const a = { provider: "p", host: "a.test" };
  const b = { provider: "p", host: "b.test" };
  watch.look([], 1);
  watch.look([a, a], 2);
  watch.look([a, b], 3);
  watch.look([a], 4);
  watch.look([], 5);
  assert.deepEqual(told, ["p a.test open 2", "p b.test open 3", "p b.test closed 4", "p a.test closed 5"]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "../../src/daemon/metrics.ts";
import type { ProviderView } from "../../src/daemon/pipeline/provider-limits.ts";
import { providerGauges } from "../../src/daemon/provider-gauges.ts";

const NAMES = new Map([
  ["id-1", "openai-main"],
  ["id-2", "fmp-main"],
]);
const nameOf = (id: string) => NAMES.get(id);

function window(
  kind: "requests" | "tokens",
  limit: number | null,
  remaining: number | null,
  scope: string | null = null,
) {
  return { kind, limit, remaining, scope, resetAtMs: null, seenAtMs: 1 };
}

const view = (over: Partial<ProviderView>): ProviderView => ({
  credential: "id-1",
  version: 1,
  held: null,
  windows: [],
  ...over,
});

test("of several scopes and versions the number closest to its end is shown", () => {
  const held = { status: 429, untilMs: 5, capped: false };
  const gauges = providerGauges(
    [
      view({
        windows: [window("requests", 500, 400, "a"), window("requests", 10_000, 500, "b"), window("tokens", null, 7)],
      }),
      view({ version: 2, held, windows: [window("requests", 100, 90), window("tokens", null, null)] }),
      view({ credential: "id-2" }),
    ],
    nameOf,
  );
  assert.deepEqual(gauges, [
    {
      credential: "openai-main",
      held: true,
      windows: [
        { kind: "requests", limit: 10_000, remaining: 500 },
        { kind: "tokens", limit: null, remaining: 7 },
      ],
    },
    { credential: "fmp-main", held: false, windows: [] },
  ]);
});

test("a credential that is gone is not shown; what the keys of a provider share is", () => {
  const gauges = providerGauges(
    [view({ credential: "gone" }), view({ credential: "provider:binance", version: 0 })],
    nameOf,
  );
  assert.deepEqual(
    gauges.map(({ credential }) => credential),
    ["provider:binance"],
  );
});

test("the metrics show limits, what is left, and who is held, in bounded number", async () => {
  const metrics = createMetrics();
  assert.doesNotMatch(await metrics.render(), /^sidekey_provider_/m);
  const windows = [
    { kind: "requests", limit: 500, remaining: 3 },
    { kind: "tokens", limit: null, remaining: 7 },
  ];
  const many = Array.from({ length: 600 }, (_, n) => ({ credential: `user-${n}`, held: false, windows }));
  metrics.observe({ providerLimits: () => [{ credential: "openai-main", held: true, windows }, ...many] });
  const lines = (await metrics.render()).split("\n");
  for (const line of [
    'sidekey_provider_limit{credential="openai-main",kind="requests"} 500',
    'sidekey_provider_remaining{credential="openai-main",kind="requests"} 3',
    'sidekey_provider_remaining{credential="openai-main",kind="tokens"} 7',
    'sidekey_provider_held{credential="openai-main"} 1',
    'sidekey_provider_held{credential="user-0"} 0',
  ]) {
    assert.ok(lines.includes(line), line);
  }
  assert.ok(!lines.some((line) => line.startsWith('sidekey_provider_limit{credential="openai-main",kind="tokens"}')));
  assert.equal(lines.filter((line) => line.startsWith("sidekey_provider_held{")).length, 500);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { openMonitorStore } from "../../../src/store/monitor.ts";
import type { StoredLimits } from "../../../src/store/provider-limit-rows.ts";
import { initializedPlace } from "../../support/cli-process.ts";

const FUTURE = Date.UTC(2099, 0, 1, 12, 0, 0);
const PAST = Date.UTC(2020, 0, 1);

test("credential show tells the provider's own limits, without a daemon", async (t) => {
  const { run, data } = await initializedPlace(t);
  const added = await run(["credential", "add", "openai", "--stdin", "--no-validate"], {
    input: "sk-canary0123456789",
  });
  assert.equal(added.code, 0, added.all);
  const bare = await run(["credential", "show", "openai-main", "--json"]);
  assert.deepEqual(JSON.parse(bare.stdout).providerLimits, []);
  assert.doesNotMatch((await run(["credential", "show", "openai-main"])).stdout, /PROVIDER LIMIT/);

  const limits: StoredLimits = {
    credential: JSON.parse(bare.stdout).id,
    version: 1,
    held: { status: 429, untilMs: FUTURE, capped: true },
    windows: [
      { scope: null, kind: "requests", limit: 500, remaining: 0, resetAtMs: PAST, seenAtMs: PAST },
      { scope: "gpt-4o\u001b[31m", kind: "tokens", limit: null, remaining: 7, resetAtMs: FUTURE, seenAtMs: PAST },
    ],
  };
  const store = openMonitorStore(data);
  store.putProviderLimits([
    limits,
    { ...limits, version: 2, held: { status: 429, untilMs: PAST, capped: false }, windows: [] },
  ]);
  store.putProviderLimits([
    { credential: "provider:openai", version: 0, held: { status: 418, untilMs: FUTURE, capped: false }, windows: [] },
  ]);
  store.close();

  const { stdout } = await run(["credential", "show", "openai-main"]);
  assert.match(stdout, /^held until {2}2099-01-01T12:00:00Z \(1, status 429; the provider asked for longer\)$/m);
  assert.match(stdout, /^held until {2}2099-01-01T12:00:00Z \(all keys, status 418\)$/m);
  assert.match(stdout, /^PROVIDER LIMIT +VERSION +SCOPE +LEFT +OF +RESETS +SEEN$/m);
  // Its reset is past: all of it is there again.
  assert.match(stdout, /^requests +1 +- +500 +500 +- +2020-01-01T00:00:00Z$/m);
  assert.match(stdout, /^tokens +1 +gpt-4o\\x1b\[31m +7 +- +2099-01-01T12:00:00Z +2020-01-01T00:00:00Z$/m);
  assert.ok(!stdout.includes("\u001b"));

  const shown = JSON.parse((await run(["credential", "show", "openai-main", "--json"])).stdout).providerLimits;
  assert.deepEqual(
    shown.map(({ version, held }: StoredLimits) => [version, held?.status ?? null]),
    [
      [1, 429],
      [2, null],
      [0, 418],
    ],
  );
  assert.deepEqual(shown[0].windows, limits.windows);
});

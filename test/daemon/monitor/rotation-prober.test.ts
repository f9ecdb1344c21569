import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { createRotationProber, type VersionProbe } from "../../../src/daemon/monitor/rotation-prober.ts";
import { iamProvider } from "../../support/cloud-key-providers.ts";
import type { KeyProvider } from "../../support/key-provider.ts";
import { openaiProvider } from "../../support/key-providers.ts";
import { CATALOG, rotationScene } from "../../support/rotation-scene.ts";

const said = (meaning: VersionProbe["meaning"]): VersionProbe => ({
  meaning,
  status: 1,
  detail: "said",
  expiresAt: null,
});

async function scene(t: TestContext, provider: KeyProvider, meaning: VersionProbe["meaning"] = "valid") {
  const at = await rotationScene(t, provider);
  at.begin();
  await at.step();
  assert.equal(at.rotation().phase, "testing");
  const probe = createRotationProber({
    vault: at.vault,
    provider: (id) => CATALOG.get(id),
    call: at.call,
    accessTokens: { take: () => assert.fail("no token is needed") },
    now: () => at.clock.now,
    probe: async () => said(meaning),
  });
  return { at, ask: () => probe(at.vault.getCredential("main"), 2) };
}

describe("trying the new version of an automatic rotation", () => {
  test("asks as the catalog says where it knows how", async (t) => {
    const { ask } = await scene(t, openaiProvider(), "forbidden");
    assert.deepEqual(await ask(), said("forbidden"));
  });

  test("asks as the rotator does where the catalog knows nothing", async (t) => {
    const { at, ask } = await scene(t, iamProvider(), "unknown");
    assert.deepEqual(await ask(), {
      meaning: "valid",
      status: 200,
      detail: "the provider answered 200",
      expiresAt: null,
    });
    at.provider.trouble = () => ({ status: 500 });
    assert.equal((await ask()).meaning, "unknown");
  });

  test("does not give up a key that was made a moment ago, but one that is refused five minutes later", async (t) => {
    for (const make of [openaiProvider, iamProvider]) {
      await t.test(make.name, async (tt) => {
        const { at, ask } = await scene(tt, make(), "invalid");
        const code = "<Error><Code>InvalidClientTokenId</Code></Error>";
        at.provider.trouble = () => ({ status: 403, body: code });
        const first = await ask();
        assert.equal(first.meaning, "unknown");
        assert.match(first.detail, /made a moment ago/);
        at.clock.now += 5 * 60_000;
        assert.equal((await ask()).meaning, "invalid");
      });
    }
  });
});

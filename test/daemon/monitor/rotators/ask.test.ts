import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { retryAfter } from "../../../../src/daemon/monitor/rotators/ask.ts";
import { openaiProvider } from "../../../support/key-providers.ts";
import { rotationScene } from "../../../support/rotation-scene.ts";
import { fields, newCredential } from "../../../support/vault-fixture.ts";

const CANARY = /CANARY/;

describe("what a rotator asks and is answered", () => {
  test("a refused admin key ends it with the next step, and nothing was changed", async (t) => {
    const scene = await rotationScene(t, openaiProvider());
    const old = scene.current();
    scene.provider.trouble = ({ target }) =>
      target.startsWith("/v1/organization")
        ? { status: 401, body: '{"error":{"code":"CANARY-in-an-error"}}' }
        : undefined;
    scene.begin();
    await scene.run();
    const { phase, problem } = scene.rotation();
    assert.equal(phase, "failed");
    assert.match(problem ?? "", /credential "admin" was refused \(401\).*sidekey credential rotate admin/);
    assert.deepEqual(scene.provider.alive(), [old]);
    assert.equal(scene.alerts[0]?.kind, "rotation_failed");
    assert.doesNotMatch(scene.written(), CANARY);
  });

  test("an admin without the right, and a project that does not exist, are permanent problems", async (t) => {
    for (const [status, words] of [
      [403, /has no right to do this \(403\)/],
      [404, /does not know the place \(404\); check the settings/],
    ] as const) {
      await t.test(String(status), async (tt) => {
        const scene = await rotationScene(tt, openaiProvider());
        scene.provider.trouble = ({ target }) => (target.startsWith("/v1/organization") ? { status } : undefined);
        scene.begin();
        await scene.run();
        assert.equal(scene.rotation().phase, "failed");
        assert.match(scene.rotation().problem ?? "", words);
      });
    }
  });

  test("Retry-After is kept to, and 500 is tried again with growing pauses", async (t) => {
    const scene = await rotationScene(t, openaiProvider());
    let answer: { status: number; headers?: Record<string, string> } = {
      status: 429,
      headers: { "retry-after": "7200" },
    };
    scene.provider.trouble = () => answer;
    scene.begin();
    await scene.step();
    assert.equal(scene.rotation().nextTryAt, scene.clock.now + 7_200_000);
    const asked = scene.standIn.requests.length;
    scene.clock.now += 7_199_999;
    await scene.step();
    assert.equal(scene.standIn.requests.length, asked);
    answer = { status: 500 };
    const pauses: number[] = [];
    for (let n = 0; n < 6; n++) {
      scene.clock.now = scene.rotation().nextTryAt ?? 0;
      await scene.step();
      pauses.push((scene.rotation().nextTryAt ?? 0) - scene.clock.now);
    }
    assert.deepEqual(pauses, [45_000, 90_000, 180_000, 360_000, 720_000, 1_440_000]);
    assert.deepEqual(
      scene.alerts.map(({ kind }) => kind),
      ["rotation_stuck"],
    );
    scene.provider.trouble = () => undefined;
    scene.clock.now = scene.rotation().nextTryAt ?? 0;
    await scene.run();
    assert.equal(scene.rotation().phase, "done");
    assert.deepEqual(scene.alerts, []);
  });

  test("a lying provider: the old key again, an id that holds the key, no JSON, the wrong kind of value", async (t) => {
    const lies: Record<string, string> = {
      "the old key again": JSON.stringify({ id: "svc_acct_9", api_key: { value: openaiProvider().fields.api_key } }),
      "the key as its id": JSON.stringify({ id: "sk-CANARYlie00000000", api_key: { value: "sk-CANARYlie00000000" } }),
      "no JSON": "<html>sk-CANARYlie0000000000</html>",
      "a number": '{"id":"svc_acct_9","api_key":{"value":12345678901234567890}}',
      "two values": '{"id":"svc_acct_9","api_key":{"value":"sk-CANARYlie00000000","value":"sk-CANARYlie00000001"}}',
      "a line break": JSON.stringify({ id: "svc_acct_9", api_key: { value: "sk-CANARYlie\r\nX-Evil: 1" } }),
    };
    for (const [name, body] of Object.entries(lies)) {
      await t.test(name, async (tt) => {
        const scene = await rotationScene(tt, openaiProvider());
        scene.provider.trouble = ({ method }) => (method === "POST" ? { body } : undefined);
        scene.begin();
        await scene.step();
        assert.equal(scene.rotation().phase, "creating");
        assert.equal(scene.rotation().attempts, 1);
        assert.match(scene.rotation().problem ?? "", /making a/);
        assert.equal(scene.vault.getCredential("main").versions.length, 1);
        assert.doesNotMatch(scene.written(), CANARY);
      });
    }
  });

  test("the admin's key goes only to the hosts that it is stored for", async (t) => {
    const scene = await rotationScene(t, openaiProvider());
    scene.vault.removeCredential("admin", "ana");
    const elsewhere = { provider: "openai-admin", category: "ai", hosts: ["eu.api.openai.com"] };
    scene.vault.addCredential(newCredential("admin", elsewhere), fields({ admin_key: "sk-admin-x" }), "ana");
    scene.begin();
    await scene.run();
    assert.match(scene.rotation().problem ?? "", /"admin" is not bound to api\.openai\.com/);
    assert.equal(scene.standIn.requests.length, 0);
  });

  test("Retry-After is read as seconds or as a date, and bounded", () => {
    const wait = (value: string) =>
      retryAfter({ status: 429, headers: new Map([["retry-after", value]]), body: Buffer.alloc(0) }, 0);
    assert.equal(wait("120"), 120_000);
    assert.equal(wait("Thu, 01 Jan 1970 00:01:00 GMT"), 60_000);
    assert.equal(wait("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    assert.equal(wait("99999999"), 86_400_000);
    assert.equal(wait("-5"), null);
    assert.equal(wait("soon"), null);
    assert.equal(wait(""), null);
  });
});

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { startClientScene } from "../support/client-scene.ts";
import { runForJson } from "../support/run-client.ts";

const EXPECTED = {
  account: "010203ABCD",
  placed: ["AAPL", "order-1", "accepted"],
  open: ["MSFT"],
  failure: ["ValidationError", 422, 42210000, 'asset "NONE" not found'],
};
const REQUESTS = 4;
const SERVICE = join(import.meta.dirname, "alpaca-service.ts");

test("the Alpaca SDK works through the proxy of its environment, whatever pair it was given", async (t) => {
  const scene = await startClientScene(t);
  const env = scene.throughProxy({ APCA_API_KEY_ID: "PK-placeholder", APCA_API_SECRET_KEY: "placeholder" });
  assert.deepEqual(await runForJson(t, { program: process.execPath, args: [SERVICE], env }), EXPECTED);
  scene.arrived(REQUESTS);
  assert.deepEqual(await scene.forms(), { connect: REQUESTS });
});

test("the Alpaca SDK works with a base path, and the token in either field of the pair", async (t) => {
  const scene = await startClientScene(t);
  const args = [SERVICE, `${scene.origin}/alpaca`];
  for (const [id, secret] of [
    [scene.token, scene.token],
    ["PK-placeholder", scene.token],
  ] as const) {
    const env = scene.byBaseUrl({ APCA_API_KEY_ID: id, APCA_API_SECRET_KEY: secret });
    assert.deepEqual(await runForJson(t, { program: process.execPath, args, env }), EXPECTED);
    scene.arrived(REQUESTS);
  }
  assert.deepEqual(await scene.forms(), { origin: 2 * REQUESTS });
});

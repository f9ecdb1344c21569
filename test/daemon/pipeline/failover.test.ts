import assert from "node:assert/strict";
import { test } from "node:test";
import type { Route } from "../../../src/policy/compile.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";
import { type Ended, FailoverScene } from "./failover-scene.ts";

function route(credentials: string, retry: string): Route {
  const yaml = `  p: { provider: p, credentials: ${credentials}, clients: [app, batch], retry: ${retry} }\n`;
  const found = compiled(withRoutes(yaml)).snapshot.routes[0];
  assert.ok(found);
  return found;
}

const POOL = ["p-main", "p-spare"];

/** `count` requests, one every `everyMs`. */
function traffic(scene: FailoverScene, count: number, everyMs: number, client = "app", method = "GET") {
  const ended: Ended[] = [];
  for (let n = 0; n < count; n++) {
    ended.push(scene.request(client, method));
    scene.wait(everyMs);
  }
  return ended;
}

test("a key that is revoked in the middle of traffic costs one retry each time it is tried, and no client a request", () => {
  const scene = new FailoverScene(route("[p-main, p-spare]", "{ on: [refused] }"), POOL, (name) =>
    name === "p-main" ? 401 : 200,
  );
  const ended = traffic(scene, 1_000, 100, "app", "POST");
  assert.deepEqual(new Set(ended.map(({ status }) => status)), new Set([200]));
  assert.equal(ended[0]?.field, "p-main;v=2;s=401;m=invalid, p-spare;v=2;s=200");
  assert.equal(ended[1]?.field, "p-spare;v=2;s=200");
  assert.equal(scene.calls.filter(({ credential }) => credential === "p-main").length, 3, "at 0, 30 and 90 s");
  scene.refused.add("id-p-main");
  assert.equal(
    traffic(scene, 5_000, 100).every(({ field }) => field === "p-spare;v=2;s=200"),
    true,
  );
});

test("a provider's limit sends the traffic to the other key until exactly then", () => {
  const scene = new FailoverScene(route("[p-main, p-spare]", "{ on: [limited] }"), POOL, () => 200);
  const untilMs = scene.nowMs + 10_000;
  scene.held.set("id-p-main", untilMs);
  traffic(scene, 200, 100);
  assert.deepEqual(
    scene.calls.filter(({ credential, atMs }) => (credential === "p-main") !== atMs >= untilMs),
    [],
  );
});

test("an outage is met with little more than nothing, and its end is noticed", () => {
  let down = true;
  const scene = new FailoverScene(route("[p-main, p-spare]", "{ attempts: 5 }"), POOL, () => (down ? 503 : 200));
  const during = traffic(scene, 30_000, 10);
  assert.ok(scene.calls.length < 120, `${scene.calls.length} calls for 30000 requests in 5 minutes`);
  assert.ok(during.slice(100).every(({ code, status }) => code === "upstream_unavailable" || status === 503));
  down = false;
  const after = traffic(scene, 7_000, 10);
  const firstGood = after.findIndex(({ status }) => status === 200);
  assert.ok(firstGood >= 0 && firstGood <= 6_000, `noticed after ${firstGood * 10} ms`);
  assert.ok(after.slice(firstGood).every(({ status }) => status === 200));
});

test("where half of the answers fail, retries stay within their budget", () => {
  let n = 0;
  const scene = new FailoverScene(route("[p-main]", "{ attempts: 5, on: [unavailable] }"), ["p-main"], () =>
    ++n % 5 < 2 ? 503 : 200,
  );
  const requests = 5_000;
  traffic(scene, requests, 10);
  const retries = scene.calls.length - requests;
  assert.ok(retries > 500 && retries <= 0.2 * requests + 10 * 6, `${retries} retries`);
});

test("a client whose requests the provider cannot digest takes the key from nobody else", () => {
  const scene = new FailoverScene(route("[p-main]", "{ on: [connect] }"), ["p-main"], (_name, client) =>
    client === "batch" ? 500 : 200,
  );
  const quiet: Ended[] = [];
  for (let n = 0; n < 3_000; n++) {
    scene.request("batch", "POST");
    if (n % 100 === 50) quiet.push(scene.request("app", "POST"));
    scene.wait(50);
  }
  assert.deepEqual(
    quiet.map(({ status }) => status).filter((status) => status !== 200),
    [],
  );
});

test("nothing but a refusal is repeated for a request that may have been carried out", () => {
  for (const failing of [500, 503, null]) {
    const scene = new FailoverScene(route("[p-main, p-spare]", "{ attempts: 5 }"), POOL, () => failing);
    scene.request("app", "POST");
    assert.equal(scene.calls.length, 1, String(failing));
  }
  for (const refusing of [401, 429]) {
    const scene = new FailoverScene(route("[p-main, p-spare]", "{ attempts: 5 }"), POOL, (name) =>
      name === "p-main" ? refusing : 200,
    );
    assert.equal(scene.request("app", "POST").status, 200, String(refusing));
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { pause } from "../support/running-sidekey.ts";
import { FORMS, type Form, type FormRequest, sendForm, tunnelTo } from "./request-form.ts";
import { hostOf, type Scene, type SceneOptions, startScene, upstreamOf } from "./scene.ts";

const request = { host: hostOf("header"), route: "header" };

interface Denial {
  readonly name: string;
  readonly ask: Partial<FormRequest>;
  readonly code: string;
  readonly forms?: readonly Form[];
}

const DENIALS: readonly Denial[] = [
  { name: "no token", ask: { client: null }, code: "client_unknown" },
  { name: "a made-up token", ask: { token: `skc_${"a".repeat(10)}_${"b".repeat(43)}` }, code: "client_unknown" },
  { name: "an empty token", ask: { token: "" }, code: "client_unknown" },
  { name: "a token of another name", ask: { client: "nobody" }, code: "client_unknown" },
  { name: "a client that is not on the route", ask: { client: "other" }, code: "not_allowed" },
  { name: "a path that is not on the route", ask: { path: "/v2/data" }, code: "not_allowed" },
  { name: "a method that is not on the route", ask: { method: "DELETE" }, code: "not_allowed" },
  { name: "TRACE", ask: { method: "TRACE" }, code: "method_not_allowed" },
  { name: "dot segments", ask: { path: "/v1/../v2" }, code: "bad_request" },
  { name: "encoded dot segments", ask: { path: "/v1/%2e%2e/v2" }, code: "bad_request" },
  { name: "an encoded slash", ask: { path: "/v1/%2fv2" }, code: "not_allowed" },
  { name: "an encoded backslash", ask: { path: "/v1/x%5cv2" }, code: "not_allowed" },
  { name: "dots before an encoded backslash", ask: { path: "/v1/..%5cv2" }, code: "bad_request" },
  { name: "a host that is not in the policy", ask: { host: "evil.test", route: "evil" }, code: "no_route" },
];

/** A daemon whose every DNS question is counted, and whose providers can only be found by asking. */
async function countingScene(
  t: Parameters<typeof startScene>[0],
  options: SceneOptions,
): Promise<Scene & { asked: string[] }> {
  const asked: string[] = [];
  const scene = await startScene(t, {
    ...options,
    clients: ["app", "other"],
    routeClients: { header: ["app"] },
    unpinned: true,
    resolve: async (host) => {
      asked.push(host);
      return ["127.0.0.1"];
    },
  });
  return { ...scene, asked };
}

for (const form of FORMS) {
  test(`G3 one-decision: every denial comes before any DNS query or connection (${form})`, async (t) => {
    const scene = await countingScene(t, { routes: { header: "allow: [{ methods: [GET], paths: [/v1/**] }]" } });
    for (const { name, ask, code } of DENIALS) {
      const reply = await sendForm(t, form, scene.sidekey, { ...request, ...ask });
      assert.equal(reply.code, code, `${name}: ${reply.seen.slice(0, 300)}`);
      assert.deepEqual(scene.asked, [], name);
    }
    // The counter counts: an allowed request does ask.
    await sendForm(t, form, scene.sidekey, request);
    assert.deepEqual(scene.asked, [request.host]);
    assert.equal(upstreamOf(scene, "header").connections(), 0);
  });

  test(`G3 one-decision: a limit that denies comes before any connection (${form})`, async (t) => {
    const scene = await startScene(t, { routes: { header: "limits: [{ name: one, per: [route], requests: 1/h }]" } });
    assert.equal((await sendForm(t, form, scene.sidekey, request)).status, 200);
    const connections = upstreamOf(scene, "header").connections();
    assert.equal((await sendForm(t, form, scene.sidekey, request)).code, "limit_exceeded");
    assert.equal(upstreamOf(scene, "header").connections(), connections);
    assert.equal(upstreamOf(scene, "header").requests.length, 1);
  });
}

test("G3 one-decision: a CONNECT without a token to an intercepted host dials and resolves nothing", async (t) => {
  const scene = await countingScene(t, {});
  const tunnel = await tunnelTo(t, scene.sidekey, { ...request, client: null });
  await pause(100);
  assert.deepEqual(scene.asked, []);
  await tunnel.write(`GET / HTTP/1.1\r\nHost: ${request.host}\r\n\r\n`);
  assert.match((await tunnel.read((bytes) => bytes.includes("\r\n\r\n"))).text, /^HTTP\/1\.1 407 /);
  assert.deepEqual(scene.asked, []);
});

test("G3 one-decision: a CONNECT to any other host is denied, or needs a token, before it is resolved", async (t) => {
  for (const unmatched of ["deny", "tunnel"] as const) {
    const scene = await countingScene(t, { unmatched });
    for (const ask of [{ client: null }, { token: "skc_x_y" }, ...(unmatched === "deny" ? [{}] : [])]) {
      const reply = await sendForm(t, "connect-h1", scene.sidekey, { ...request, host: "evil.test", ...ask });
      assert.ok(["client_unknown", "no_route"].includes(reply.code ?? ""), reply.seen);
    }
    assert.deepEqual(scene.asked, []);
  }
});

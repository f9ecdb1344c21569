import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReceivedRequest } from "../support/stand-in.ts";
import { FORMS, type Form, sendForm } from "./request-form.ts";
import { hostOf, type Kind, keyOf, type Scene, startScene, upstreamOf } from "./scene.ts";

const OWN = "client-own-key-0123456789";

/** What a client may send in the places where a provider takes its key, and beside them. */
const CLAIMS: readonly { readonly fields?: readonly string[]; readonly query?: string; readonly h1?: true }[] = [
  {},
  { fields: ["Authorization", `Bearer ${OWN}`] },
  { fields: ["authorization", `Basic ${Buffer.from(`x:${OWN}`).toString("base64")}`, "X-Api-Key", OWN] },
  { fields: ["x-api-key", OWN, "X-API-KEY", OWN, "X-Api-Key", `${OWN}2`] },
  { fields: ["X_Api_Key", OWN, "Api_Key", OWN, "api-key", OWN] },
  { fields: ["Cookie", `a=1; apikey=${OWN}; b=2`] },
  { query: `?apikey=${OWN}` },
  { query: `?a=1&APIKEY=${OWN}&api_key=${OWN}&api%5Fkey=${OWN}&apikey[]=${OWN}&token=${OWN};apikey=${OWN}&b=2` },
  { query: `?apikey=${OWN}&apikey=${OWN}`, fields: ["X-Api-Key", OWN, "Authorization", OWN] },
  { h1: true, fields: ["Connection", "x-api-key, authorization"] },
  { h1: true, fields: ["Connection", "", "Connection", "X-API-KEY, Authorization, x-key-id"] },
  { h1: true, fields: ["Connection", "close, x-api-key", "X-Api-Key", OWN] },
  { h1: true, fields: ["Connection", "keep-alive", "Connection", "authorization,host,content-length"] },
  { h1: true, fields: ["Proxy-Connection", "keep-alive", "Keep-Alive", "timeout=5", "TE", "trailers"] },
  { fields: ["X-Forwarded-For", "10.0.0.1", "Forwarded", "for=10.0.0.1", "Via", "1.1 me", "X-Real-IP", "10.0.0.1"] },
];

/** Every place where `kind` reads its key, in what the stand-in received. */
function keysReceived(kind: Kind, request: ReceivedRequest): string[] {
  const parameters = [...new URLSearchParams(request.target.split("?")[1] ?? "")];
  switch (kind) {
    case "header":
      return request.values("x-api-key");
    case "pair":
      return request.values("authorization").map((value) => value.replace(/^Bearer /, ""));
    case "basic":
      return request.values("authorization").map((value) => {
        const pair = Buffer.from(value.replace(/^Basic /, ""), "base64").toString("latin1");
        return pair.replace(/^id-of-basic:/, "");
      });
    case "query":
      return parameters.filter(([name]) => /^apikey$/i.test(name)).map(([, value]) => value);
    case "body":
      return [JSON.parse(request.body.toString("latin1")).secret];
  }
}

const FORBIDDEN =
  /^(proxy-.*|te|trailer|keep-alive|upgrade|expect|via|forwarded|x-forwarded-.*|x-real-ip|sidekey-.*)$/i;

async function provesOneKey(t: Parameters<typeof startScene>[0], scene: Scene, form: Form, kind: Kind): Promise<void> {
  const key = keyOf(scene, kind).text;
  for (const { fields = [], query = "", h1 } of CLAIMS) {
    if (h1 && form === "connect-h2") continue;
    const ask = { host: hostOf(kind), route: kind, path: `/v1/data${query}`, fields };
    const body =
      kind === "body" ? { method: "POST", body: JSON.stringify({ secret: OWN, auth: { key: OWN }, a: [1] }) } : {};
    const before = upstreamOf(scene, kind).requests.length;
    const label = `${form} ${kind} ${JSON.stringify({ fields, query })}`;
    const reply = await sendForm(t, form, scene.sidekey, { ...ask, ...body });
    assert.equal(reply.status, 200, `${label}: ${reply.seen}`);
    const [received, ...more] = upstreamOf(scene, kind).requests.slice(before);
    assert.ok(received && more.length === 0, label);
    assert.deepEqual(keysReceived(kind, received), [key], label);
    const text = received.bytes.toString("latin1");
    assert.ok(
      !text.includes(OWN) && !text.includes(Buffer.from(OWN).toString("base64").slice(4, -4)),
      `${label}\n${text}`,
    );
    assert.ok(!text.includes(scene.sidekey.tokens.app ?? "?") && !text.includes("skc_"), label);
    for (const [name, value] of received.headers) {
      assert.doesNotMatch(name, FORBIDDEN, label);
      if (name.toLowerCase() === "connection") assert.match(value, /^(keep-alive|close)$/, label);
    }
    if (query.includes("b=2")) assert.match(received.target, /[?&]a=1&.*b=2/, "the other parameters stay");
  }
}

for (const form of FORMS) {
  test(`G4 inject-last: the provider gets one key, ours, whatever the client sends (${form})`, async (t) => {
    const kinds = ["header", "pair", "query", "basic", "body"] as const;
    const scene = await startScene(t, { kinds });
    for (const kind of kinds) await provesOneKey(t, scene, form, kind);
  });

  test(`G4 inject-last: a token in the key's place is replaced by the key (${form})`, async (t) => {
    const scene = await startScene(t, { kinds: ["header", "pair", "query", "basic"] });
    const token = scene.sidekey.tokens.app ?? "";
    const basic = Buffer.from(`anything:${token}`).toString("base64");
    for (const [kind, ask] of [
      ["header", { fields: ["x-api-key", token] }],
      ["header", { fields: ["Authorization", `Bearer ${token}`] }],
      ["pair", { fields: ["Authorization", `Bearer ${token}`, "X-Key-Id", "mine"] }],
      ["query", { path: `/v1/data?a=1&apikey=${token}` }],
      ["query", { path: `/v1/data?token=${encodeURIComponent(token)}` }],
      ["basic", { fields: ["Authorization", `Basic ${basic}`] }],
      ["header", { fields: ["Cookie", `apikey=${token}`] }],
    ] as const) {
      const before = upstreamOf(scene, kind).requests.length;
      const request = { host: hostOf(kind), route: kind, client: null, ...ask };
      assert.equal((await sendForm(t, form, scene.sidekey, request)).status, 200, `${kind} ${JSON.stringify(ask)}`);
      const received = upstreamOf(scene, kind).requests[before];
      assert.ok(received);
      assert.deepEqual(keysReceived(kind, received), [keyOf(scene, kind).text]);
      const text = received.bytes.toString("latin1");
      assert.ok(!text.includes("skc_") && !text.includes(basic), text);
    }
  });
}

test("G4 inject-last: when there is no usable key, the client's own does not go out instead", async (t) => {
  const scene = await startScene(t);
  await scene.sidekey.withVault((vault) => vault.setState("header-main", "disabled", "test"));
  for (const form of FORMS) {
    const request = { host: hostOf("header"), route: "header", fields: ["X-Api-Key", OWN] };
    for (let tries = 0; tries < 40; tries++) {
      const reply = await sendForm(t, form, scene.sidekey, request);
      if (reply.code === "no_usable_credential") break;
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.notEqual(tries, 39, "the daemon did not notice the disabled credential");
    }
  }
  assert.ok(!Buffer.concat(upstreamOf(scene, "header").received()).includes(OWN));
});

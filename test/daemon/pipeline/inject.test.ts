import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { inject, withoutSecret } from "../../../src/daemon/pipeline/inject.ts";
import { SecretPool } from "../../../src/daemon/pipeline/secret-pool.ts";
import { Splice } from "../../../src/daemon/pipeline/splice.ts";
import type { Route } from "../../../src/policy/compile.ts";
import { planFor, selectAuth } from "../../../src/providers/auth/plan.ts";
import { parseProvider } from "../../../src/providers/schema.ts";
import { Secret } from "../../../src/secret.ts";
import type { Credential } from "../../../src/store/credentials.ts";

const BINDING = { authority: "api.p.test:443", route: "p", client: "app" };
const CHOICE = {
  credential: { id: "c1", name: "p-main", hosts: ["api.p.test", "data.p.test:8443"] } as unknown as Credential,
  version: 1,
};

function routeWith(auth: string, more = ""): Route {
  const provider = parseProvider(
    `id: p
name: p
category: demo
docs: https://docs.p.test/
sources: ["made up for tests (D)"]
environments: { live: { hosts: [api.p.test] } }
fields: { id: { label: Id, secret: false }, key: { label: Key, secret: true } }
auth: [${auth}]
${more}`,
    "p.yaml",
  );
  return { id: "p", provider } as unknown as Route;
}

function setUp(t: TestContext, auth: string, more = "") {
  const route = routeWith(auth, more);
  const splice = new Splice();
  const open = (): Map<string, Secret> =>
    new Map([
      ["id", Secret.copyOf(Buffer.from("the-id"))],
      ["key", Secret.copyOf(Buffer.from("the-key"))],
    ]);
  const secrets = new SecretPool(open, 10_000);
  t.after(() => secrets.close());
  const plan = planFor(selectAuth(route.provider, { host: "api.p.test", method: "GET", path: "/" }));
  const injected = (fields: string[], query = "") =>
    inject({ fields, query }, plan, CHOICE, route, BINDING, { secrets, splice });
  return { route, splice, injected };
}

const MARKER = /^sidekey~[0-9a-f]{32}~[0-9a-f]+$/;

test("headers get markers between their literal text, after everything the client sent", (t) => {
  const { splice, injected } = setUp(t, "{ scheme: header, headers: { x-id: '{id}', authorization: 'Key {key}!' } }");
  const injection = injected(["accept", "*/*"], "a=1");
  assert.deepEqual(injection.fields.slice(0, 3), ["accept", "*/*", "x-id"]);
  assert.match(injection.fields[3] ?? "", MARKER);
  assert.equal(injection.fields[4], "authorization");
  assert.match(injection.fields[5] ?? "", /^Key sidekey~[^ ]+!$/);
  assert.equal(injection.query, "a=1");
  assert.equal(splice.openSlots, 2);
  assert.equal(injection.spliced(), false);
  injection.release();
  injection.release();
  assert.equal(splice.openSlots, 0);
});

test("a query parameter is added behind the client's, or stands alone", (t) => {
  const { injected } = setUp(t, "{ scheme: query, query: { apikey: key } }");
  assert.match(injected([], "a=%20&b").query, /^a=%20&b&apikey=sidekey~/);
  assert.match(injected([]).query, /^apikey=sidekey~/);
});

test("a body gets a marker of its own and no field", (t) => {
  const { splice, injected } = setUp(t, "{ scheme: body-json, pointer: /secret, field: key }");
  const injection = injected(["accept", "*/*"]);
  assert.deepEqual(injection.fields, ["accept", "*/*"]);
  assert.match(injection.bodyMarker ?? "", MARKER);
  injection.release();
  assert.equal(splice.openSlots, 0);
});

test("companions are set only when the client chose none, with a key and without one", (t) => {
  const companions = 'requestHeaders: { x-version: "2024" }';
  const { route, injected } = setUp(t, "{ scheme: header, headers: { x-key: '{key}' } }", companions);
  assert.deepEqual(injected([]).fields.slice(0, 2), ["x-version", "2024"]);
  assert.deepEqual(injected(["X-Version", "2020"]).fields.slice(0, 3), ["X-Version", "2020", "x-key"]);
  const plain = withoutSecret({ fields: ["a", "1"], query: "q=1" }, route);
  assert.deepEqual([plain.fields, plain.query, plain.bodyMarker], [["a", "1", "x-version", "2024"], "q=1", null]);
  assert.equal(plain.spliced(), true);
  plain.release();
});

test("what the client sent is not changed in place", (t) => {
  const { injected } = setUp(t, "{ scheme: header, headers: { x-key: '{key}' } }");
  const fields = ["a", "1"];
  injected(fields);
  assert.deepEqual(fields, ["a", "1"]);
});

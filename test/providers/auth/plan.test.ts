import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planFor, type Rendering, renderSecret, selectAuth } from "../../../src/providers/auth/plan.ts";
import { parseProvider } from "../../../src/providers/schema.ts";
import { Secret } from "../../../src/secret.ts";

const provider = parseProvider(
  `id: x
name: X
category: demo
docs: https://x.example/
sources: [test]
environments: { live: { hosts: [api.x.example, v2.x.example, "*.region.x.example"] } }
fields: { id: { label: I, secret: false }, key: { label: K, secret: true } }
auth:
  - { scheme: header, headers: { x-id: "{id}", authorization: "Bearer {key}" }, hosts: [v2.x.example] }
  - { scheme: basic, user: "{id}", password: "p-{key}", hosts: ["*.region.x.example"] }
  - { scheme: body-json, pointer: /secret, field: key, methods: [POST], paths: [/bulk] }
  - { scheme: query, query: { apiKey: key }, methods: [GET] }
`,
  "x.yaml",
);

function rule(method: string, host: string, path: string) {
  return selectAuth(provider, { method, host, path });
}

function rendered(rendering: Rendering, fields: Record<string, Uint8Array>): Buffer {
  const secrets = new Map(Object.entries(fields).map(([name, bytes]) => [name, Secret.copyOf(bytes)]));
  return renderSecret(rendering, secrets).use((bytes) => Buffer.from(bytes));
}

test("the first rule whose host, method and path match is chosen", () => {
  assert.equal(rule("POST", "v2.x.example", "/bulk").scheme, "header");
  assert.equal(rule("GET", "eu.region.x.example", "/").scheme, "basic");
  assert.equal(rule("POST", "api.x.example", "/bulk").scheme, "body-json");
  assert.equal(rule("GET", "api.x.example", "/bulk").scheme, "query");
});

test("nothing is injected where no rule matches, and a star is one label", () => {
  assert.equal(rule("PUT", "api.x.example", "/bulk").scheme, "none");
  assert.equal(rule("PUT", "a.b.region.x.example", "/").scheme, "none");
  assert.equal(rule("PUT", "region.x.example", "/").scheme, "none");
  assert.deepEqual(planFor(rule("PUT", "api.x.example", "/")), { headers: [], query: [], body: null });
});

test("plans name the places, are frozen and are computed once", () => {
  const header = planFor(rule("GET", "v2.x.example", "/"));
  assert.deepEqual(header, {
    headers: [
      { name: "x-id", prefix: "", suffix: "", render: { encoding: "raw", fields: ["id"] } },
      { name: "authorization", prefix: "Bearer ", suffix: "", render: { encoding: "raw", fields: ["key"] } },
    ],
    query: [],
    body: null,
  });
  assert.equal(planFor(rule("GET", "v2.x.example", "/other")), header);
  assert.ok(Object.isFrozen(header) && Object.isFrozen(header.headers[0]?.render.fields));
  assert.deepEqual(planFor(rule("GET", "api.x.example", "/")).query, [
    { name: "apiKey", render: { encoding: "percent", fields: ["key"] } },
  ]);
  assert.deepEqual(planFor(rule("POST", "api.x.example", "/bulk")).body, {
    pointer: "/secret",
    render: { encoding: "json", fields: ["key"] },
  });
});

test("raw rendering is a copy that can be wiped without harming the original", () => {
  const original = Secret.copyOf(Buffer.from("abc"));
  const copy = renderSecret({ encoding: "raw", fields: ["key"] }, new Map([["key", original]]));
  copy.wipe();
  assert.equal(
    original.use((bytes) => bytes.equals(Buffer.from("abc"))),
    true,
  );
});

test("raw rendering equals the bytes, and refuses what would end a header line", () => {
  const printable = fc
    .array(fc.integer({ min: 0x21, max: 0x7e }), { maxLength: 64 })
    .map((codes) => Buffer.from(codes));
  fc.assert(
    fc.property(printable, (key) => {
      assert.deepEqual(rendered({ encoding: "raw", fields: ["key"] }, { key }), key);
    }),
    { seed: 7 },
  );
  for (const text of ["a\r", "a\nb", "\0"]) {
    assert.throws(() => rendered({ encoding: "raw", fields: ["key"] }, { key: Buffer.from(text) }), /field "key"/);
  }
});

test("percent rendering leaves only unreserved bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (key) => {
      const expected = [...key].map((byte) => {
        const character = String.fromCharCode(byte);
        return /[A-Za-z0-9._~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
      });
      assert.equal(rendered({ encoding: "percent", fields: ["key"] }, { key }).toString("latin1"), expected.join(""));
    }),
    { seed: 7 },
  );
});

test("Basic rendering equals base64 of user:password for any bytes", () => {
  const basic = planFor(rule("GET", "eu.region.x.example", "/")).headers[0]?.render;
  assert.ok(basic);
  const user = fc.uint8Array({ maxLength: 40 }).filter((bytes) => !bytes.includes(0x3a));
  fc.assert(
    fc.property(user, fc.uint8Array({ maxLength: 40 }), (id, key) => {
      const expected = Buffer.concat([id, Buffer.from(":p-"), key]).toString("base64");
      assert.equal(rendered(basic, { id, key }).toString("latin1"), expected);
    }),
    { seed: 7 },
  );
  assert.throws(() => rendered(basic, { id: Buffer.from("a:b"), key: Buffer.from("c") }), /field "id" has a colon/);
});

test("JSON rendering equals JSON.stringify without its quotes", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 64 }), (text) => {
      const key = Buffer.from(text, "utf8");
      const expected = JSON.stringify(key.toString("utf8")).slice(1, -1);
      assert.equal(rendered({ encoding: "json", fields: ["key"] }, { key }).toString("utf8"), expected);
    }),
    { seed: 7 },
  );
  const controls = Buffer.from(Array.from({ length: 0x80 }, (_, code) => code));
  const expected = JSON.stringify(controls.toString("latin1")).slice(1, -1);
  assert.equal(rendered({ encoding: "json", fields: ["key"] }, { key: controls }).toString("utf8"), expected);
});

test("a missing field is named", () => {
  assert.throws(() => rendered({ encoding: "raw", fields: ["key"] }, {}), /no field "key"/);
  const basic = planFor(rule("GET", "eu.region.x.example", "/")).headers[0]?.render;
  assert.ok(basic);
  assert.throws(() => rendered(basic, { id: Buffer.from("a") }), /no field "key"/);
});

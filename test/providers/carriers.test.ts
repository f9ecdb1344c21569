import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { carriersOf, type Fields, findCarried, removeCarriers } from "../../src/providers/carriers.ts";
import { type Carriers, parseProvider } from "../../src/providers/schema.ts";

const carriers: Carriers = {
  headers: new Set(["authorization", "x-api-key"]),
  query: new Set(["apikey", "api_key", "$key"]),
  body: [],
  cookies: new Set(["session"]),
};

function cleanedQuery(query: string): string {
  return removeCarriers([], query, carriers).query;
}

function cleanedFields(...fields: Fields): Fields {
  return removeCarriers(fields, "", carriers).fields;
}

test("the union holds what the file lists and every place of its auth rules", () => {
  const provider = parseProvider(
    `id: x
name: X
category: demo
docs: https://x.example/
sources: [test]
environments: { live: { hosts: [api.x.example] } }
fields: { k: { label: K, secret: true } }
auth:
  - { scheme: header, headers: { x-key: "ApiKey={k}" }, paths: [/a/**] }
  - { scheme: query, query: { apiKey: k }, paths: [/b/**] }
  - { scheme: basic, user: "{k}", password: "", paths: [/c/**] }
  - { scheme: body-json, pointer: /secret, field: k, paths: [/d/**] }
carriers: { headers: [x-old], query: [Token], body: [/key], cookies: [sid] }
`,
    "x.yaml",
  );
  const union = carriersOf(provider);
  assert.deepEqual([...union.headers], ["x-old", "x-key", "authorization"]);
  assert.deepEqual([...union.query], ["token", "apikey"]);
  assert.deepEqual(union.body, ["/key", "/secret"]);
  assert.deepEqual([...union.cookies], ["sid"]);
  assert.equal(carriersOf(provider), union);
  assert.deepEqual(provider.carriers, union);
  const [found] = findCarried(["X-Key", "apikey=skc_1"], "", union);
  assert.equal(found?.value, "skc_1");
});

test("nothing carried means the very same objects", () => {
  const fields = ["Accept", "*/*", "Cookie", "a=1; b=2", "X-Api-Keys", "1"];
  const cleaned = removeCarriers(fields, "a=1&apikeys=2", carriers);
  assert.equal(cleaned.fields, fields);
  assert.equal(cleaned.query, "a=1&apikeys=2");
  assert.deepEqual(findCarried(fields, "a=1&apikeys=2", carriers), []);
});

test("header carriers go in any case, with _ for -, and repeated", () => {
  const kept = cleanedFields("X-API-KEY", "1", "Accept", "a", "x_api_key", "2", "X-Api_Key", "3", "AUTHORIZATION", "4");
  assert.deepEqual(kept, ["Accept", "a"]);
});

test("named cookies go and the others keep their bytes", () => {
  assert.deepEqual(cleanedFields("Cookie", "a=1; session=x;  b=2"), ["Cookie", "a=1;  b=2"]);
  assert.deepEqual(cleanedFields("cookie", "Session=x; a=1"), ["cookie", "a=1"]);
  assert.deepEqual(cleanedFields("Cookie", "session=x", "A", "b"), ["A", "b"]);
});

const queries: [raw: string, cleaned: string][] = [
  ["", ""],
  ["apikey=x", ""],
  ["apikey", ""],
  ["apikey=", ""],
  ["a=1&apikey=x&b=2", "a=1&b=2"],
  ["apikey=x&a=1", "a=1"],
  ["a=1&apikey=x", "a=1"],
  ["apikey=x&apikey=y&a=%20+&apikey=z", "a=%20+"],
  ["%61pikey=x&a=1", "a=1"],
  ["%41PIKEY=x", ""],
  ["api%5Fkey=x&API_KEY=y&Api_Key=z&q=ApiKey", "q=ApiKey"],
  ["%24key=x&$key=y&key=z", "key=z"],
  ["api-key=x&api.key=y&api+key=z&api%20key=w", ""],
  ["apikey[]=x&apikey%5B0%5D=y&%20apikey=z&apikey%00=w", ""],
  ["a=1;apikey=x;b=2&c=3", "a=1;b=2&c=3"],
  ["&&apikey=x&&a=1&", "&&&a=1&"],
  ["apikey=x&&a=1", "&a=1"],
  ["%zz=1&%=2&apikey=x&%6", "%zz=1&%=2&%6"],
  ["a=apikey=x", "a=apikey=x"],
  ["%2561pikey=x", "%2561pikey=x"],
];
for (const [raw, cleaned] of queries) {
  test(`the query ${JSON.stringify(raw)} becomes ${JSON.stringify(cleaned)}`, () => {
    assert.equal(cleanedQuery(raw), cleaned);
  });
}

test("whatever the mix, the remainder is byte-exact and in order and nothing carried survives", () => {
  const encoded = (name: string) => {
    return fc
      .array(fc.constantFrom("lower", "upper", "percent", "percent-upper"), {
        minLength: name.length,
        maxLength: name.length,
      })
      .map((ways) => {
        return [...name].map((character, index) => spelled(character, ways[index] ?? "lower")).join("");
      });
  };
  const carried = fc
    .tuple(fc.constantFrom("apikey", "api_key", "$key").chain(encoded), fc.stringMatching(/^[A-Za-z0-9%+._~-]{0,8}$/))
    .map(([name, value]) => ({ text: `${name}=${value}`, keep: false }));
  const other = fc
    .tuple(fc.stringMatching(/^[A-Za-z0-9%+._~!$'()*,:@/?-]{0,6}$/), fc.stringMatching(/^[A-Za-z0-9%+._~=/?-]{0,8}$/))
    .map(([name, value]) => ({ text: `x${name}=${value}`, keep: true }));
  fc.assert(
    fc.property(fc.array(fc.oneof(carried, other), { maxLength: 8 }), (parts) => {
      const cleaned = cleanedQuery(parts.map((part) => part.text).join("&"));
      assert.equal(
        cleaned,
        parts
          .filter((part) => part.keep)
          .map((part) => part.text)
          .join("&"),
      );
      assert.deepEqual(findCarried([], cleaned, carriers), []);
    }),
    { numRuns: 2000, seed: 7 },
  );
});

function spelled(character: string, way: string): string {
  const cased = way.endsWith("upper") ? character.toUpperCase() : character;
  return way.startsWith("percent") ? `%${cased.charCodeAt(0).toString(16)}` : cased;
}

test("header removal keeps every other field, its case and its order", () => {
  const name = fc.constantFrom("Authorization", "x-api-key", "X_API_KEY", "Accept", "X-Other", "Host", "Set-Cookie");
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.string()), { maxLength: 10 }), (pairs) => {
      const expected = pairs.filter(([own]) => !/^(authorization|x[-_]api[-_]key)$/i.test(own)).flat();
      assert.deepEqual(cleanedFields(...pairs.flat()), expected);
    }),
    { seed: 7 },
  );
});

test("a token shown in the key's place is found without its scheme word", () => {
  const basic = Buffer.from("user:skc_5:x").toString("base64");
  const fields = ["Authorization", "Bearer skc_1", "AUTHORIZATION", "token skc_2", "X-Api-Key", " skc_3 "];
  fields.push("authorization", `Basic ${basic}`, "Cookie", 'a=1; session="skc_4"', "Accept", "skc_no");
  assert.deepEqual(findCarried(fields, "q=1&%61pikey=skc%5F6&api_key=%zz", carriers), [
    { place: "header", name: "authorization", value: "skc_1" },
    { place: "header", name: "authorization", value: "skc_2" },
    { place: "header", name: "x-api-key", value: "skc_3" },
    { place: "header", name: "authorization", value: "skc_5:x" },
    { place: "header", name: "authorization", value: "user" },
    { place: "cookie", name: "session", value: "skc_4" },
    { place: "query", name: "apikey", value: "skc_6" },
    { place: "query", name: "api_key", value: "%zz" },
  ]);
});

test("values that hold no key are not reported", () => {
  assert.deepEqual(findCarried(["Authorization", "", "Authorization", "Basic !!!"], "", carriers), []);
});

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Provider, ProviderFileError, parseProvider } from "../../src/providers/schema.ts";

const directory = join(import.meta.dirname, "../../config/providers");

const minimal = `id: acme
name: Acme
category: market-data
docs: https://acme.example/docs
sources: ["https://acme.example/docs (D)"]
environments:
  live: { hosts: [api.acme.example] }
fields:
  api_key: { label: API key, secret: true }
auth:
  - scheme: header
    headers: { x-acme-key: "{api_key}" }
`;

function errorOf(text: string, file = "providers/acme.yaml"): ProviderFileError {
  try {
    parseProvider(text, file);
  } catch (error) {
    if (error instanceof ProviderFileError) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: "the file was accepted" });
}

for (const name of readdirSync(directory).filter((entry) => entry.endsWith(".yaml"))) {
  test(`config/providers/${name} loads`, () => {
    const provider = parseProvider(readFileSync(join(directory, name), "utf8"), name);
    assert.equal(`${provider.id}.yaml`, name);
    assert.ok(provider.sources.every((source) => source.length > 0));
  });
}

test("a minimal file gives a provider with nothing left undefined", () => {
  const provider: Provider = parseProvider(minimal, "providers/acme.yaml");
  assert.deepEqual(provider.environments.get("live"), {
    hosts: [{ host: "api.acme.example", port: 443, wildcard: false }],
  });
  assert.deepEqual(provider.auth, [
    { scheme: "header", headers: [{ name: "x-acme-key", prefix: "", suffix: "", field: "api_key" }] },
  ]);
  assert.deepEqual([...provider.carriers.headers], ["x-acme-key"]);
  assert.equal(provider.probe, null);
  assert.ok(Object.isFrozen(provider) && Object.isFrozen(provider.auth) && Object.isFrozen(provider.auth[0]));
});

test("the greatest age of a key is a number of days", () => {
  const withAge = (age: string) => `${minimal}rotation: { kind: none, maxAge: ${age} }\n`;
  assert.equal(parseProvider(withAge("90d"), "providers/acme.yaml").rotation?.maxAge, 90 * 86_400_000);
  for (const age of ["90", "0d", "12h", "1.5d", "99999d"]) {
    assert.match(errorOf(withAge(age)).message, /rotation\.maxAge/, age);
  }
});

test("how limits are told is one of a closed list, with names only where names are read", () => {
  const read = (rules: string) => `${minimal}limitHeaders: ${rules}\n`;
  const good =
    "{ dialect: fields, kind: credits_per_minute, used: credits-used, remaining: credits-left, per: address }";
  assert.equal(parseProvider(read(good), "providers/acme.yaml").limitHeaders?.kind, "credits_per_minute");
  const quotas = parseProvider(
    read("{ dialect: binance, quotas: { weight_per_minute: 6000 } }"),
    "providers/acme.yaml",
  );
  assert.deepEqual(quotas.limitHeaders?.quotas, { weight_per_minute: 6000 });
  assert.match(errorOf(read("{ dialect: epoch-seconds }")).message, /limitHeaders\.dialect: .*"standard".*"binance"/);
  assert.match(errorOf(read("{ dialect: fields }")).message, /fields needs remaining/);
  assert.match(errorOf(read("{ dialect: openai, remaining: x-left }")).message, /only fields names/);
  for (const wrong of ["kind: apples", "resetAs: fortnights", "per: planet", "quotas: { weight: 0 }"]) {
    assert.match(errorOf(read(`{ dialect: standard, ${wrong} }`)).message, /limitHeaders\./, wrong);
  }
});

test("hosts take ports and one leading star, narrowing becomes sets and globs", () => {
  const text = minimal
    .replace("[api.acme.example]", '["*.acme.example", "localhost:5000"]')
    .replace(
      "scheme: header\n",
      'scheme: header\n    hosts: ["*.acme.example"]\n    methods: [GET]\n    paths: [/v1/**]\n',
    );
  const provider = parseProvider(text, "acme.yaml");
  assert.deepEqual(provider.environments.get("live")?.hosts, [
    { host: "*.acme.example", port: 443, wildcard: true },
    { host: "localhost", port: 5000, wildcard: false },
  ]);
  const [rule] = provider.auth;
  assert.deepEqual([...(rule?.hosts ?? [])], ["*.acme.example"]);
  assert.deepEqual([...(rule?.methods ?? [])], ["GET"]);
  assert.equal(rule?.paths?.[0]?.matches("/v1/x"), true);
});

test("shapes are enforced by their evidence and only then", () => {
  const withShape = (shape: string) => {
    const text = minimal.replace("secret: true }", `secret: true, shape: ${shape} }`);
    return parseProvider(text, "acme.yaml").fields.get("api_key")?.shape;
  };
  const shape = withShape('{ prefixes: [A_], alphabet: "A-Z0-9_-", length: [4, 9], evidence: D }');
  assert.equal(shape?.enforced, true);
  assert.deepEqual([shape?.minLength, shape?.maxLength, shape?.alphabet?.size], [4, 9, 38]);
  assert.equal(withShape("{ length: 4, evidence: R }")?.enforced, false);
  assert.equal(withShape("{ length: 4 }")?.enforced, false);
});

const edits: [name: string, from: string | RegExp, to: string, line: number, says: RegExp][] = [
  ["an unknown key", "docs:", "dogs: 1\ndocs:", 4, /^providers\/acme.yaml:4 dogs: unknown key/],
  ["an unknown key inside", "secret: true }", "secret: true, colour: red }", 9, /fields\.api_key\.colour: unknown key/],
  ["a missing field", "name: Acme\n", "", 1, /name: /],
  [
    "a field that is not there",
    '"{api_key}"',
    '"{key}"',
    12,
    /auth\[0\]\.headers\.x-acme-key: field "key" is not in fields \(api_key\)/,
  ],
  ["a template with two placeholders", '"{api_key}"', '"{api_key}{api_key}"', 12, /exactly one/],
  ["a template without placeholder", '"{api_key}"', '"sk-1234"', 12, /no \{field\}/],
  ["a template with a line break", '"{api_key}"', '"x\\r\\ny: {api_key}"', 12, /printable ASCII/],
  ["a header that frames the message", "x-acme-key", "content-length", 12, /content-length: is a header that frames/],
  ["an upper-case header name", "x-acme-key", "X-Acme-Key", 12, /lower-case header name/],
  ["a duplicate key", "docs:", "name: Again\ndocs:", 4, /duplicate key "name"/],
  ["an alias", "category: market-data", "category: *x", 3, /alias/],
  ["no sources", /sources: .*\n/, "sources: []\n", 5, /sources: /],
  [
    "a rule for answers that is about every answer",
    "docs:",
    "errors: [{ means: invalid }]\ndocs:",
    4,
    /errors\[0\]: needs a status, a match or a begins/,
  ],
  [
    "a rule for answers with a meaning that nobody acts on",
    "docs:",
    "errors: [{ status: 401, means: broken }]\ndocs:",
    4,
    /errors\[0\]\.means: /,
  ],
  ["an id that is not the file's name", "id: acme", "id: acne", 1, /not the file's name; write acme/],
  ["an upper-case host", "api.acme.example", "API.acme.example", 7, /environments\.live\.hosts\[0\]: .*canonical/],
  ["an address as host", "api.acme.example", "10.0.0.1", 7, /is an address/],
  ["a bad port", "api.acme.example", '"api.acme.example:0443"', 7, /no valid port/],
  ["a star inside a host", "api.acme.example", '"api.*.example"', 7, /canonical/],
  ["a star over a top-level domain", "api.acme.example", '"*.example"', 7, /top-level/],
  ["an unknown scheme", "scheme: header", "scheme: magic", 11, /auth\[0\]/],
  [
    "a host outside the environments",
    "scheme: header",
    "scheme: header\n    hosts: [other.example]",
    12,
    /auth\[0\]\.hosts\[0\]/,
  ],
  [
    "a bad path pattern",
    "scheme: header",
    "scheme: header\n    paths: [v1]",
    12,
    /auth\[0\]\.paths\[0\]: .*begin with/,
  ],
  ["an empty alphabet range", "secret: true }", 'secret: true, shape: { alphabet: "Z-A" } }', 9, /not an alphabet/],
  [
    "a prefix outside the alphabet",
    "secret: true }",
    'secret: true, shape: { prefixes: [a_], alphabet: "a-z" } }',
    9,
    /leaves out/,
  ],
  ["a rule that never applies", /$/, "  - scheme: none\n", 13, /auth\[1\]: never applies, because auth\[0\]/],
  ["a rate without unit", /$/, "limits: [{ plan: free, requests: 300 }]\n", 13, /limits\[0\]\.requests/],
  [
    "a probe of a foreign host",
    /$/,
    "probe: { method: GET, path: /, host: x.example, valid: [200] }\n",
    13,
    /probe\.host/,
  ],
];
for (const [name, from, to, line, says] of edits) {
  test(`${name} is refused with file, line and path`, () => {
    const error = errorOf(minimal.replace(from, to));
    assert.match(error.message, says);
    assert.equal(error.line, line, error.message);
    assert.equal(error.file, "providers/acme.yaml");
  });
}

test("an expiry is told by a header or by JSON, never by both or neither, and an age is whole days", () => {
  const told = parseProvider(`${minimal}expiry: { json: /data/until, format: iso }\n`, "providers/acme.yaml");
  assert.deepEqual(told.expiry, { json: "/data/until", format: "iso" });
  assert.equal(parseProvider(minimal, "providers/acme.yaml").expiry, null);
  for (const wrong of [
    "{ format: iso }",
    "{ json: /a, header: x-until, format: iso }",
    "{ json: a, format: iso }",
    "{ json: /a }",
  ]) {
    assert.match(errorOf(`${minimal}expiry: ${wrong}\n`).message, /acme\.yaml:\d+ expiry/, wrong);
  }
  const aged = parseProvider(`${minimal}rotation: { kind: none, maxAge: 90d }\n`, "providers/acme.yaml");
  assert.equal(aged.rotation?.maxAge, 90 * 86_400_000);
  for (const wrong of ["0d", "12h", "90 days"]) {
    const text = `${minimal}rotation: { kind: none, maxAge: ${wrong} }\n`;
    assert.match(errorOf(text).message, /rotation\.maxAge: .*whole days/, wrong);
  }
});

test("all problems of a file are reported together", () => {
  const error = errorOf(minimal.replace('"{api_key}"', '"{a}"').replace("api.acme.example", "UPPER.example"));
  assert.equal(error.message.split("\n").length, 2);
});

test("a Basic pair needs a field and a user without colon", () => {
  const basic = (user: string, password: string) => {
    return minimal.replace(/ {2}- scheme[\s\S]*/, `  - { scheme: basic, user: "${user}", password: "${password}" }\n`);
  };
  assert.match(errorOf(basic("", "")).message, /both empty/);
  assert.match(errorOf(basic("a:{api_key}", "")).message, /colon|cannot contain :/);
  const provider = parseProvider(basic("{api_key}", ""), "acme.yaml");
  assert.deepEqual([...provider.carriers.headers], ["authorization"]);
});

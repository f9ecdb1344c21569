import assert from "node:assert/strict";
import { test } from "node:test";
import { createProbe, probeFields } from "../../../src/daemon/monitor/probe.ts";
import { CallError, type CallProvider, type ProviderCall } from "../../../src/daemon/monitor/provider-call.ts";
import { loadCatalog } from "../../../src/providers/catalog.ts";
import { type Provider, parseProvider } from "../../../src/providers/schema.ts";
import { Secret } from "../../../src/secret.ts";
import { CATALOG_DIR } from "../../support/running-sidekey.ts";
import { storedCredential } from "./stored-credential.ts";

const KEY = 'k/1+"x"';
const catalog = loadCatalog(CATALOG_DIR).providers;
const OPTIONS = { timeoutMs: 1_000, private: [] };

function shipped(id: string): Provider {
  const found = catalog.get(id);
  assert.ok(found);
  return found;
}

function made(auth: string, more = ""): Provider {
  return parseProvider(
    `id: p
name: P
category: c
docs: https://p.example/
sources: [x]
environments: { live: { hosts: [api.p.example, "other.p.example:8443", "*.wild.example"] } }
fields: { api_key: { label: k, secret: true }, id: { label: i, secret: false } }
auth: [ ${auth} ]
${more === "" ? "probe: { method: GET, path: /me?a=1, valid: [200], invalid: [401] }" : more}
`,
    "p.yaml",
  );
}

const secrets = (): Map<string, Secret> =>
  new Map([
    ["api_key", Secret.copyOf(Buffer.from(KEY))],
    ["id", Secret.copyOf(Buffer.from("me"))],
  ]);

interface Written {
  readonly call: ProviderCall;
  readonly path: string;
  readonly fields: readonly string[];
  readonly body: string | null;
}

/** Stands for the network: notes what would be written, with the secrets in their places. */
function recorder(answer: { status?: number; body?: string; headers?: Record<string, string> } | Error = {}) {
  const written: Written[] = [];
  const call: CallProvider = async (asked) => {
    const fill = (text: string): string =>
      text.replace(/\{(\w+)\}/g, (whole, name: string) => asked.secrets.get(name)?.use(String) ?? whole);
    const fields = asked.fields.map(([name, value]) => `${name}: ${fill(value)}`);
    written.push({
      call: asked,
      path: fill(asked.path),
      fields,
      body: asked.body === null ? null : String(asked.body),
    });
    if (answer instanceof Error) throw answer;
    const { status = 200, body = "{}", headers = {} } = answer;
    return { status, headers: new Map(Object.entries(headers)), body: Buffer.from(body) };
  };
  return { call, written };
}

const SUBJECT = { environment: "live", hosts: ["api.p.example"] };

test("the key goes where the provider takes it: header, Basic, query or body", async () => {
  const { call, written } = recorder();
  const header = made('{ scheme: header, headers: { x-key: "Key {api_key}", x-id: "{id}" } }');
  const basic = made('{ scheme: basic, user: "{id}", password: "{api_key}" }');
  const query = made("{ scheme: query, query: { token: api_key } }");
  const body = made(
    "{ scheme: body-json, pointer: /auth/secret, field: api_key }",
    "probe: { method: POST, path: /check, body: '{\"n\":1}', valid: [200] }",
  );
  for (const provider of [header, basic, query, body]) {
    const result = await probeFields(call, provider, SUBJECT, secrets(), OPTIONS);
    assert.equal(result.meaning, "valid", result.detail);
  }
  assert.deepEqual(written[0]?.fields, [`x-key: Key ${KEY}`, "x-id: me"]);
  assert.equal(written[0]?.path, "/me?a=1");
  assert.deepEqual(written[1]?.fields, [`authorization: Basic ${Buffer.from(`me:${KEY}`).toString("base64")}`]);
  assert.equal(written[2]?.path, `/me?a=1&token=${KEY}`);
  assert.equal(written[3]?.body, JSON.stringify({ n: 1, auth: { secret: KEY } }));
  assert.deepEqual(written[3]?.fields, ["content-type: application/json"]);
});

test("no text that is sent on as text holds the key, and what was rendered is wiped afterwards", async () => {
  const { call, written } = recorder();
  const body = made(
    "{ scheme: body-json, pointer: /secret, field: api_key }",
    "probe: { method: POST, path: /check, valid: [200] }",
  );
  const basic = made('{ scheme: basic, user: "{id}", password: "{api_key}" }');
  const held = secrets();
  for (const provider of [body, basic]) await probeFields(call, provider, SUBJECT, held, OPTIONS);
  for (const { call: asked } of written) {
    assert.ok(!JSON.stringify([asked.path, asked.fields]).includes(KEY));
    assert.ok(asked.body === null || asked.body.every((byte) => byte === 0), "the body was wiped");
  }
  assert.equal(written[1]?.call.secrets.get("h0")?.wiped, true);
  assert.equal(held.get("api_key")?.wiped, false, "the caller's stay the caller's");
});

test("companion fields of the provider are sent too", async () => {
  const { call, written } = recorder();
  const fields = new Map([["api_key", Secret.copyOf(Buffer.from("sk-ant-api-x"))]]);
  await probeFields(call, shipped("anthropic"), { environment: "live", hosts: ["api.anthropic.com"] }, fields, OPTIONS);
  assert.ok(
    written[0]?.fields.some((line) => line.startsWith("anthropic-version: ")),
    String(written[0]?.fields),
  );
});

test("the host is one that the credential is bound to, or nothing is sent", async () => {
  const provider = made('{ scheme: header, headers: { x-key: "{api_key}" } }');
  const to = async (hosts: readonly string[], environment = "live"): Promise<string> => {
    const { call, written } = recorder();
    const result = await probeFields(call, provider, { environment, hosts }, secrets(), OPTIONS);
    const sent = written[0]?.call;
    return sent ? `${sent.host}:${sent.port}` : `${result.meaning}: ${result.detail}`;
  };
  assert.equal(await to(["other.p.example:8443", "api.p.example"]), "api.p.example:443");
  assert.equal(await to(["other.p.example:8443"]), "other.p.example:8443");
  assert.equal(await to(["mine.wild.example"]), "mine.wild.example:443");
  for (const foreign of [
    "api.p.example.evil",
    "a.b.wild.example",
    "other.p.example",
    "wild.example",
    "api.p.example:444",
  ]) {
    assert.match(await to([foreign]), /^unknown: the credential may not go to the host/, foreign);
  }
  assert.match(await to(["api.p.example"], "paper"), /^unknown/);
});

test("a host that the probe names is the only one", async () => {
  const { call, written } = recorder();
  const provider = shipped("twelve-data");
  const fields = new Map([["api_key", Secret.copyOf(Buffer.from("0".repeat(32)))]]);
  const bound = { environment: "live", hosts: ["api.twelvedata.com", "ws.twelvedata.com"] };
  await probeFields(call, provider, bound, fields, OPTIONS);
  assert.equal(written[0]?.call.host, "api.twelvedata.com");
  const result = await probeFields(call, provider, { ...bound, hosts: ["ws.twelvedata.com"] }, fields, OPTIONS);
  assert.equal(result.meaning, "unknown");
  assert.equal(written.length, 1);
});

test("the answer is read by the provider's rules; the detail has the path without its query and nothing of the body", async () => {
  const provider = made('{ scheme: header, headers: { x-key: "{api_key}" } }');
  const { call } = recorder({ status: 401, body: `your key ${KEY} is bad` });
  const result = await probeFields(call, provider, SUBJECT, secrets(), OPTIONS);
  assert.deepEqual(result, {
    meaning: "invalid",
    status: 401,
    detail: "GET /me answered 401: the provider does not accept the key",
    expiresAt: null,
  });
});

test("an expiry is learned from an accepted answer alone, and never from one that repeats the key", async () => {
  const provider = made(
    '{ scheme: header, headers: { x-key: "{api_key}" } }',
    "probe: { method: GET, path: /me, valid: [200], invalid: [401] }\nexpiry: { json: /until, format: iso }",
  );
  const plain = new Map([["api_key", Secret.copyOf(Buffer.from("plain-key"))]]);
  const ask = async (status: number, body: string) =>
    (await probeFields(recorder({ status, body }).call, provider, SUBJECT, plain, OPTIONS)).expiresAt;
  const body = '{"until":"2027-12-31T00:00:00Z"}';
  assert.equal(await ask(200, body), Date.UTC(2027, 11, 31));
  assert.equal(await ask(401, body), null);
  assert.equal(await ask(200, '{"until":"2027-12-31T00:00:00Z","key":"plain-ke"}'), Date.UTC(2027, 11, 31));
  assert.equal(await ask(200, '{"until":"2027-12-31T00:00:00Z","key":"plain-key"}'), null);
});

test("no answer is unknown, with the reason", async () => {
  const provider = made('{ scheme: header, headers: { x-key: "{api_key}" } }');
  const { call } = recorder(new CallError("dns", "the name api.p.example could not be resolved"));
  const result = await probeFields(call, provider, SUBJECT, secrets(), OPTIONS);
  assert.deepEqual([result.meaning, result.status], ["unknown", null]);
  assert.match(result.detail, /no answer to the check: the name api\.p\.example/);
});

test("a field that is missing is said by its name", async () => {
  const { call, written } = recorder();
  for (const auth of [
    '{ scheme: header, headers: { x-key: "{api_key}" } }',
    "{ scheme: query, query: { k: api_key } }",
  ]) {
    const result = await probeFields(call, made(auth), SUBJECT, new Map(), OPTIONS);
    assert.equal(result.meaning, "unknown");
    assert.match(result.detail, /no field "api_key"/);
  }
  assert.equal(written.length, 0);
});

test("every probe of the catalog can be built for a credential of its provider", async () => {
  for (const provider of catalog.values()) {
    if (provider.probe === null || provider.fields.size === 0) continue;
    for (const [environment, { hosts }] of provider.environments) {
      const { call, written } = recorder({ body: '{"valid":true}' });
      const bound = hosts.map(({ host, port }) => `${host.replace("*", "mine")}${port === 443 ? "" : `:${port}`}`);
      const fields = new Map([...provider.fields.keys()].map((name) => [name, Secret.copyOf(Buffer.from("CANARY"))]));
      const result = await probeFields(call, provider, { environment, hosts: bound }, fields, OPTIONS);
      assert.equal(result.meaning, "valid", `${provider.id} ${environment}: ${result.detail}`);
      const [sent] = written;
      assert.match(`${sent?.path} ${sent?.fields} ${sent?.body}`, /CANARY/, `${provider.id} sends its key`);
    }
  }
});

test("a stored version is opened, asked about and wiped", async () => {
  const provider = made('{ scheme: header, headers: { x-key: "{api_key}" } }');
  const { call, written } = recorder();
  const opened: Map<string, Secret>[] = [];
  const probe = createProbe({
    call,
    provider: (id) => (id === "p" ? provider : undefined),
    openFields: (id, version) => {
      if (version === 9) throw new Error("sealed");
      assert.equal(id, "id-main");
      opened.push(secrets());
      return opened[0] as Map<string, Secret>;
    },
    private: () => [],
  });
  assert.equal((await probe(storedCredential(), 1)).meaning, "valid");
  assert.equal(written.length, 1);
  assert.ok([...(opened[0]?.values() ?? [])].every((secret) => secret.wiped));
  assert.match((await probe(storedCredential(), 9)).detail, /version 9 could not be opened/);
  assert.match((await probe(storedCredential({ provider: "gone" }), 1)).detail, /not in the catalog/);
});

test("a provider without a probe is unknown, says so and costs no opening", async () => {
  const provider = { ...made('{ scheme: header, headers: { x-key: "{api_key}" } }'), probe: null };
  const openFields = (): Map<string, Secret> => assert.fail("opened for nothing");
  const probe = createProbe({ call: recorder().call, provider: () => provider, openFields, private: () => [] });
  const result = await probe(storedCredential(), 1);
  assert.equal(result.meaning, "unknown");
  assert.match(result.detail, /knows no request that checks a key of p/);
});

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { type ReceivedRequest, type StandIn, startStandIn } from "../support/stand-in.ts";
import { type Answer, FORMS, type Form, formClient } from "./form-client.ts";

const OPENAI_KEY = `sk-${randomBytes(24).toString("hex")}`;
/** Characters that percent-encoding and JSON change. */
const FMP_KEY = `fm+p/&=%"\\${randomBytes(8).toString("hex")}`;
const TAAPI_SECRET = `eyJ"\\/${randomBytes(16).toString("hex")}`;
const ALPACA_ID = "PK0123456789ABCDEFGH";
const ALPACA_SECRET = randomBytes(20).toString("hex");
const BASIC_PASSWORD = `pass:word${randomBytes(8).toString("hex")}`;

const HOSTS = {
  openai: "api.openai.com",
  fmp: "financialmodelingprep.com",
  taapi: "api.taapi.io",
  alpaca: "paper-api.alpaca.markets",
};

const POLICY = `
version: 1
clients: { app: { token: true } }
routes:
  openai: { provider: openai, credentials: [openai-main], clients: [app] }
  fmp: { provider: fmp, credentials: [fmp-main], clients: [app] }
  taapi: { provider: taapi, credentials: [taapi-main], clients: [app] }
  alpaca: { provider: alpaca, environment: paper, credentials: [alpaca-main], clients: [app] }
`;

const BASIC_PROVIDER = `
id: basic-one
name: Basic One
category: demo
docs: https://basic.example/docs
sources: [test]
environments: { live: { hosts: [api.basic.example] } }
fields:
  user: { label: User, secret: false }
  password: { label: Password, secret: true }
auth: [{ scheme: basic, user: "{user}", password: "{password}" }]
`;

interface Setup {
  readonly t: TestContext;
  readonly sidekey: RunningSidekey;
  readonly standIn: StandIn;
}

async function start(t: TestContext): Promise<Setup> {
  const standIn = await startStandIn(t, { hostnames: Object.values(HOSTS), handler: () => ({ body: "answer" }) });
  const leads = { port: standIn.port, caPem: standIn.caPem };
  const sidekey = await startSidekey(t, {
    policy: POLICY,
    credentials: {
      "openai-main": { provider: "openai", hosts: [HOSTS.openai], fields: { api_key: OPENAI_KEY } },
      "fmp-main": { provider: "fmp", hosts: [HOSTS.fmp], fields: { api_key: FMP_KEY } },
      "taapi-main": { provider: "taapi", hosts: [HOSTS.taapi], fields: { secret: TAAPI_SECRET } },
      "alpaca-main": {
        provider: "alpaca",
        environment: "paper",
        hosts: [HOSTS.alpaca],
        fields: { key_id: ALPACA_ID, secret_key: ALPACA_SECRET },
      },
    },
    hosts: Object.fromEntries(Object.values(HOSTS).map((host) => [host, leads])),
  });
  return { t, sidekey, standIn };
}

function lastRequest(standIn: StandIn): ReceivedRequest {
  assert.deepEqual(standIn.problems, []);
  const request = standIn.requests.at(-1);
  assert.ok(request);
  return request;
}

function answered(answer: Answer): void {
  assert.equal(`${answer.status} ${answer.body}`, "200 answer");
  assert.equal(answer.complete, true);
}

function holds(bytes: Buffer, text: string): number {
  return bytes.toString("latin1").split(text).length - 1;
}

type Check = (setup: Setup, form: Form) => Promise<void>;

const CHECKS: Readonly<Record<string, Check>> = {
  "a header key arrives once, whatever the client sent in its place": async ({ t, sidekey, standIn }, form) => {
    const client = formClient(t, form, { ...sidekey, host: HOSTS.openai, route: "openai" });
    const mine = { authorization: "Bearer sk-mine", "api-key": "sk-mine", "x-request-id": "7", accept: ["a/b", "c/d"] };
    answered(await client.ask({ path: "/v1/models?limit=2&after=%2Fx", headers: mine }));
    const request = lastRequest(standIn);
    assert.equal(request.target, "/v1/models?limit=2&after=%2Fx");
    assert.equal(request.servername, HOSTS.openai);
    assert.deepEqual(request.values("host"), [HOSTS.openai]);
    assert.deepEqual(request.values("authorization"), [`Bearer ${OPENAI_KEY}`]);
    assert.deepEqual(request.values("x-request-id"), ["7"]);
    assert.equal(request.values("accept").join(", "), "a/b, c/d");
    for (const gone of ["api-key", "proxy-authorization", "proxy-connection"])
      assert.deepEqual(request.values(gone), []);
    assert.equal(holds(request.bytes, "sk-mine"), 0);
    assert.equal(holds(request.bytes, sidekey.tokens.app ?? ""), 0);
  },
  "the token may be shown in the place of a header key": async ({ t, sidekey, standIn }, form) => {
    const client = formClient(t, form, { ...sidekey, host: HOSTS.openai, route: "openai" });
    answered(await client.ask({ token: false, headers: { authorization: `Bearer ${sidekey.tokens.app}` } }));
    const request = lastRequest(standIn);
    assert.deepEqual(request.values("authorization"), [`Bearer ${OPENAI_KEY}`]);
    assert.equal(holds(request.bytes, sidekey.tokens.app ?? ""), 0);
  },
  "a query key arrives once, percent-encoded, behind the client's own parameters": async (
    { t, sidekey, standIn },
    form,
  ) => {
    const client = formClient(t, form, { ...sidekey, host: HOSTS.fmp, route: "fmp" });
    const key = encodeURIComponent(FMP_KEY);
    answered(await client.ask({ path: "/stable/quote?apikey=mine&symbol=BRK%2EB&%61pikey=mine&x=1" }));
    assert.equal(lastRequest(standIn).target, `/stable/quote?symbol=BRK%2EB&x=1&apikey=${key}`);
    answered(await client.ask({ path: `/stable/quote?apikey=${sidekey.tokens.app}`, token: false }));
    const shown = lastRequest(standIn);
    assert.equal(shown.target, `/stable/quote?apikey=${key}`);
    assert.equal(holds(shown.bytes, sidekey.tokens.app ?? ""), 0);
    answered(await client.ask({ path: "/stable/quote" }));
    assert.equal(lastRequest(standIn).target, `/stable/quote?apikey=${key}`);
  },
  "a key in a JSON body takes the place of the client's": async ({ t, sidekey, standIn }, form) => {
    const client = formClient(t, form, { ...sidekey, host: HOSTS.taapi, route: "taapi" });
    const construct = { exchange: "binance", symbol: "BTC/USDT", indicators: [{ indicator: "rsi", note: 'ü\\"' }] };
    const headers = { "content-type": "application/json" };
    const mine = JSON.stringify({ secret: "mine", construct });
    answered(await client.ask({ method: "POST", path: "/bulk", headers, body: mine }));
    const request = lastRequest(standIn);
    assert.deepEqual(JSON.parse(request.body.toString("utf8")), { secret: TAAPI_SECRET, construct });
    assert.deepEqual(request.values("content-length"), [String(request.body.length)]);
    const shown = JSON.stringify({ secret: sidekey.tokens.app, construct });
    answered(await client.ask({ method: "POST", path: "/bulk", headers, body: shown, token: false }));
    const second = lastRequest(standIn);
    assert.deepEqual(JSON.parse(second.body.toString("utf8")), { secret: TAAPI_SECRET, construct });
    assert.equal(holds(second.bytes, sidekey.tokens.app ?? ""), 0);
    assert.equal(holds(second.bytes, "sidekey~"), 0);
  },
  "two header keys of one credential arrive together": async ({ t, sidekey, standIn }, form) => {
    const client = formClient(t, form, { ...sidekey, host: HOSTS.alpaca, route: "alpaca" });
    const mine = { "APCA-API-KEY-ID": sidekey.tokens.app ?? "", "APCA-API-SECRET-KEY": "mine" };
    answered(await client.ask({ path: "/v2/account", token: false, headers: mine }));
    const request = lastRequest(standIn);
    assert.deepEqual(request.values("apca-api-key-id"), [ALPACA_ID]);
    assert.deepEqual(request.values("apca-api-secret-key"), [ALPACA_SECRET]);
    assert.equal(holds(request.bytes, sidekey.tokens.app ?? ""), 0);
  },
};

for (const form of FORMS) {
  test(`through ${form}`, async (t) => {
    const setup = await start(t);
    for (const [name, check] of Object.entries(CHECKS)) await t.test(name, () => check(setup, form));
  });

  test(`through ${form}: Basic credentials are made of user and password`, async (t) => {
    const host = "api.basic.example";
    const standIn = await startStandIn(t, { hostnames: [host], handler: () => ({ body: "answer" }) });
    const fields = { user: "me", password: BASIC_PASSWORD };
    const sidekey = await startSidekey(t, {
      policy:
        "version: 1\nclients: { app: { token: true } }\n" +
        "routes: { basic-one: { provider: basic-one, credentials: [main], clients: [app] } }\n",
      providers: { "basic-one": BASIC_PROVIDER },
      credentials: { main: { provider: "basic-one", hosts: [host], category: "demo", fields } },
      hosts: { [host]: { port: standIn.port, caPem: standIn.caPem } },
    });
    const client = formClient(t, form, { ...sidekey, host, route: "basic-one" });
    const shown = Buffer.from(`app:${sidekey.tokens.app}`).toString("base64");
    answered(await client.ask({ token: false, headers: { authorization: `Basic ${shown}` } }));
    const expected = Buffer.from(`me:${BASIC_PASSWORD}`).toString("base64");
    assert.deepEqual(lastRequest(standIn).values("authorization"), [`Basic ${expected}`]);
  });
}

test("every exchange leaves one log line with its form", async (t) => {
  const { sidekey } = await start(t);
  for (const form of FORMS) {
    const client = formClient(t, form, { ...sidekey, host: HOSTS.openai, route: "openai" });
    answered(await client.ask({ path: "/v1/models?secret=1" }));
  }
  const lines = await sidekey.requestsLogged(FORMS.length);
  assert.deepEqual(
    lines.map(({ form, outcome, status, path, route, credential }) => [form, outcome, status, path, route, credential]),
    ["absolute", "origin", "connect", "connect"].map((form) => [
      form,
      "ok",
      200,
      "/v1/models",
      "openai",
      "openai-main",
    ]),
  );
});

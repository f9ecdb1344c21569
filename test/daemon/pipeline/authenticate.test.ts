import assert from "node:assert/strict";
import { test } from "node:test";
import { authenticate, type Claim } from "../../../src/daemon/pipeline/authenticate.ts";
import { ProxyError, problemFields, problemJson } from "../../../src/daemon/pipeline/errors.ts";
import type { Carriers } from "../../../src/providers/schema.ts";
import { compiled } from "../../policy/policy-fixture.ts";
import { newVault, START_MS } from "../../support/vault-fixture.ts";

const POLICY = compiled(`version: 1
clients:
  app: { token: true }
  batch: { token: true, from: [10.20.0.0/16, "2001:db8:1::/48"] }
  api: { token: true, actsFor: users }
  legacy: { trust: loopback }
  mesh: { trust: 172.16.5.0/24, actsFor: users }
routes:
  p: { provider: p, credentials: [p-main], clients: [app, batch, api, legacy, mesh] }
`).snapshot;
const NO_TRUST = compiled(`version: 1
clients: { app: { token: true } }
routes: { p: { provider: p, credentials: [p-main], clients: [app] } }
`).snapshot;

const CARRIERS: Carriers = {
  headers: new Set(["authorization", "x-api-key"]),
  query: new Set(["apikey"]),
  body: [],
  cookies: new Set(["session"]),
};
const NOW = START_MS + 1_000_000;
const FAR = "203.0.113.9";

/** Tokens from a real vault, among them every kind that must not work. */
async function tokensOf(t: Parameters<typeof newVault>[0]) {
  const { vault } = await newVault(t);
  const made = (client: string, options = {}): string => vault.addClientToken(client, options, "test").token;
  const tokens = {
    app: made("app"),
    batch: made("batch"),
    api: made("api"),
    expired: made("app", { expiresAt: START_MS + 500_000 }),
    revoked: made("app"),
    stranger: made("stranger"),
    legacy: made("legacy"),
  };
  vault.revokeClientTokens(tokens.revoked.slice(4, 14), "test");
  return { tokens, table: vault.loadTokenTable() };
}

function claimOf(claim: Partial<Claim>): Claim {
  return {
    fields: [],
    query: "",
    carriers: CARRIERS,
    connectAuthorization: null,
    bodyToken: null,
    remoteAddress: FAR,
    ...claim,
  };
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

function field(name: string, value: string): Partial<Claim> {
  return { fields: ["Accept", "*/*", name, value] };
}

test("a token is known in every place where a client may show it", async (t) => {
  const { tokens, table } = await tokensOf(t);
  const { app } = tokens;
  const places: Record<string, Partial<Claim>> = {
    "Proxy-Authorization Bearer": field("Proxy-Authorization", `Bearer ${app}`),
    "Proxy-Authorization bearer": field("PROXY-AUTHORIZATION", `bearer  ${app} `),
    "Proxy-Authorization Basic": field("Proxy-Authorization", basic("app", app)),
    "Proxy-Authorization Basic without a user": field("proxy-authorization", basic("", app)),
    "Proxy-Authorization Basic, as user": field("Proxy-Authorization", basic(app, "")),
    "the CONNECT's Proxy-Authorization": { connectAuthorization: basic("app", app) },
    "a CONNECT that knows no provider yet": { ...field("Proxy-Authorization", `Bearer ${app}`), carriers: null },
    "the key's own header": field("X-API-Key", app),
    "Authorization Bearer": field("authorization", `Bearer ${app}`),
    "Authorization Basic, as password": field("Authorization", basic("anything", app)),
    "Authorization Basic, as user": field("Authorization", basic(app, "")),
    "the key's query parameter": { query: `a=1&apikey=${app}` },
    "the key's cookie": field("Cookie", `a=b; session=${app}`),
    "the key's place in a JSON body": { bodyToken: app },
  };
  for (const [place, claim] of Object.entries(places)) {
    assert.deepEqual(authenticate(NO_TRUST, table, claimOf(claim), NOW), { client: "app", user: null }, place);
  }
});

test("whatever is wrong with a token, the answer is the same, byte for byte", async (t) => {
  const { tokens, table } = await tokensOf(t);
  const { app } = tokens;
  const wrong: Record<string, Partial<Claim>> = {
    "nothing shown": {},
    "nothing shown in a CONNECT": { carriers: null },
    "a provider's own key": field("X-Api-Key", "sk-live-0123456789"),
    "a token outside every carrier": field("X-Other", app),
    "a token in a parameter that is no carrier": { query: `token=${app}` },
    unknown: field("Proxy-Authorization", `Bearer skc_aaaaaaaaaa_${"A".repeat(43)}`),
    "wrong secret": field("Proxy-Authorization", `Bearer ${app.slice(0, -1)}${app.endsWith("A") ? "B" : "A"}`),
    "cut off": field("Proxy-Authorization", `Bearer ${app.slice(0, -1)}`),
    longer: field("Proxy-Authorization", `Bearer ${app}A`),
    expired: field("Proxy-Authorization", `Bearer ${tokens.expired}`),
    revoked: field("x-api-key", tokens.revoked),
    "client without a policy entry": field("Proxy-Authorization", `Bearer ${tokens.stranger}`),
    "client whose policy entry takes no token": field("Proxy-Authorization", `Bearer ${tokens.legacy}`),
    "Basic user of another client": field("Proxy-Authorization", basic("api", app)),
    "Basic without a colon": field("Proxy-Authorization", `Basic ${Buffer.from(app).toString("base64")}`),
    "another scheme": field("Proxy-Authorization", `Digest ${app}`),
    "no scheme": field("Proxy-Authorization", app),
    "empty Proxy-Authorization": field("Proxy-Authorization", ""),
    "bad Proxy-Authorization, good key place": {
      fields: ["Proxy-Authorization", "Bearer skc_x", "X-Api-Key", app],
    },
    "bad Proxy-Authorization, good CONNECT": {
      ...field("Proxy-Authorization", ""),
      connectAuthorization: `Bearer ${app}`,
    },
    "bad token in a body": { bodyToken: `${app}x` },
  };
  const answers = new Set<string>();
  for (const [what, claim] of Object.entries(wrong)) {
    try {
      authenticate(POLICY, table, claimOf(claim), NOW);
      assert.fail(`accepted: ${what}`);
    } catch (error) {
      assert.ok(error instanceof ProxyError, `${what}: ${error}`);
      assert.equal(error.code, "client_unknown", what);
      const body = problemJson(error, "id");
      assert.ok(!body.includes("skc_") && !body.includes("sk-live"), what);
      answers.add(JSON.stringify([error.status, problemFields(error, body.length), body.toString()]));
    }
  }
  assert.equal(answers.size, 1);
});

test("a wrong token is not saved by a trusted address", async (t) => {
  const { tokens, table } = await tokensOf(t);
  for (const claim of [field("x-api-key", tokens.revoked), field("Proxy-Authorization", "Bearer x")]) {
    assert.throws(() => authenticate(POLICY, table, claimOf({ ...claim, remoteAddress: "127.0.0.1" }), NOW), {
      code: "client_unknown",
    });
  }
});

test("trusted addresses need no token, and a provider's key in the request does not matter", async (t) => {
  const { table } = await tokensOf(t);
  const trusted = { "127.0.0.1": "legacy", "127.8.9.1": "legacy", "::1": "legacy", "::ffff:127.0.0.1": "legacy" };
  for (const [remoteAddress, client] of Object.entries({ ...trusted, "172.16.5.77": "mesh" })) {
    const claim = claimOf({ ...field("x-api-key", "sk-live-0123"), remoteAddress });
    assert.equal(authenticate(POLICY, table, claim, NOW).client, client, remoteAddress);
  }
  for (const remoteAddress of ["172.16.6.1", "128.0.0.1", "::2", "", "::ffff:172.16.6.1", "not-an-address"]) {
    assert.throws(() => authenticate(POLICY, table, claimOf({ remoteAddress }), NOW), { code: "client_unknown" });
  }
});

test("a client with `from` is refused from everywhere else, though its token is good", async (t) => {
  const { tokens, table } = await tokensOf(t);
  const shown = field("Proxy-Authorization", `Bearer ${tokens.batch}`);
  for (const remoteAddress of ["10.20.0.1", "10.20.255.255", "::ffff:10.20.3.4", "2001:db8:1:2::3"]) {
    assert.equal(authenticate(POLICY, table, claimOf({ ...shown, remoteAddress }), NOW).client, "batch", remoteAddress);
  }
  for (const remoteAddress of ["10.21.0.1", "127.0.0.1", "::1", "2001:db8:2::1", ""]) {
    assert.throws(() => authenticate(POLICY, table, claimOf({ ...shown, remoteAddress }), NOW), {
      code: "not_allowed",
      reason: "client_address",
    });
  }
});

test("Sidekey-User is believed only from a client that acts for users", async (t) => {
  const { tokens, table } = await tokensOf(t);
  const asking = (token: string, ...users: string[]): Claim =>
    claimOf({
      fields: ["Proxy-Authorization", `Bearer ${token}`, ...users.flatMap((user) => ["Sidekey-User", user])],
    });
  assert.deepEqual(authenticate(POLICY, table, asking(tokens.api, "user-7"), NOW), { client: "api", user: "user-7" });
  assert.deepEqual(authenticate(POLICY, table, asking(tokens.api), NOW), { client: "api", user: null });
  const mesh = claimOf({ fields: ["SIDEKEY-USER", "u"], remoteAddress: "172.16.5.1" });
  assert.deepEqual(authenticate(POLICY, table, mesh, NOW), { client: "mesh", user: "u" });
  const refused = { code: "not_allowed", reason: "user" };
  assert.throws(() => authenticate(POLICY, table, asking(tokens.app, "user-7"), NOW), refused);
  for (const user of ["", "a b", "caf\u00e9", "x".repeat(129)]) {
    assert.throws(() => authenticate(POLICY, table, asking(tokens.api, user), NOW), refused, user);
  }
  assert.throws(() => authenticate(POLICY, table, asking(tokens.api, "a", "b"), NOW), {
    code: "bad_request",
    reason: "duplicate_field",
  });
});

test("two Proxy-Authorization fields are refused, even equal ones", async (t) => {
  const { tokens, table } = await tokensOf(t);
  const one = ["Proxy-Authorization", `Bearer ${tokens.app}`];
  const claim = claimOf({ fields: [...one, ...one.map((text, index) => (index === 0 ? text.toLowerCase() : text))] });
  assert.throws(() => authenticate(POLICY, table, claim, NOW), { code: "bad_request", reason: "duplicate_field" });
});

test("Proxy-Authorization of the request decides over the CONNECT's and over the key's place", async (t) => {
  const { tokens, table } = await tokensOf(t);
  const both = claimOf({
    fields: ["Proxy-Authorization", `Bearer ${tokens.api}`, "x-api-key", tokens.app],
    connectAuthorization: `Bearer ${tokens.app}`,
  });
  assert.equal(authenticate(POLICY, table, both, NOW).client, "api");
});

test("a token that was right is remembered for a second at most, and not beyond a change of the tokens", async (t) => {
  const { vault } = await newVault(t);
  const { token, id } = vault.addClientToken("app", { expiresAt: NOW + 1_500 }, "test");
  const claim = claimOf(field("Proxy-Authorization", `Bearer ${token}`));
  const table = vault.loadTokenTable();
  let hashed = 0;
  const counting = {
    verify: (shown: string, nowMs: number) => {
      hashed++;
      return table.verify(shown, nowMs);
    },
  };
  for (const at of [0, 1, 500, 999]) authenticate(NO_TRUST, counting, claim, NOW + at);
  assert.equal(hashed, 1);
  authenticate(NO_TRUST, counting, claim, NOW + 1_000);
  assert.equal(hashed, 2);
  assert.throws(() => authenticate(NO_TRUST, counting, claim, NOW + 2_000), { code: "client_unknown" });
  assert.throws(() => authenticate(NO_TRUST, counting, claim, NOW + 2_000), { code: "client_unknown" });
  assert.equal(hashed, 4, "a wrong token is never remembered");
  vault.revokeClientTokens(id, "test");
  assert.throws(() => authenticate(NO_TRUST, vault.loadTokenTable(), claim, NOW), { code: "client_unknown" });
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ACCESS_TOKEN, tokenRequest } from "../../../src/providers/auth/oauth2.ts";
import { planFor, selectAuth } from "../../../src/providers/auth/plan.ts";
import { removeCarriers } from "../../../src/providers/carriers.ts";
import { type OAuth2Auth, type Provider, ProviderFileError, parseProvider } from "../../../src/providers/schema.ts";
import { Secret } from "../../../src/secret.ts";

const FILE = `id: acme
name: Acme
category: trading
docs: https://acme.example/docs
sources: [test]
environments:
  live: { hosts: [api.acme.example, login.acme.example] }
fields:
  tenant: { label: Tenant, secret: false }
  client_id: { label: Client id, secret: false }
  client_secret: { label: Secret, secret: true }
  refresh_token: { label: Refresh token, secret: true }
auth:
  - scheme: oauth2
    grant: refresh-token
    tokenHost: login.acme.example
    tokenPath: "/{tenant}/token"
    clientAuth: body
    clientId: client_id
    clientSecret: client_secret
    refreshToken: refresh_token
    scope: https://api.acme.example/.default
    hosts: [api.acme.example]
`;

const parse = (text = FILE): Provider => parseProvider(text, "acme.yaml");
const ruleOf = (provider: Provider): OAuth2Auth => {
  const [rule] = provider.auth;
  assert.ok(rule?.scheme === "oauth2");
  return rule;
};
const secretsOf = (values: Record<string, string>): Map<string, Secret> =>
  new Map(Object.entries(values).map(([name, value]) => [name, Secret.copyOf(Buffer.from(value))]));
const VALUES = { tenant: "t 1", client_id: "id", client_secret: "s&=+/é", refresh_token: "r%" };

function refused(change: (text: string) => string): string {
  try {
    parse(change(FILE));
  } catch (error) {
    assert.ok(error instanceof ProviderFileError);
    return error.message;
  }
  throw new assert.AssertionError({ message: "the file was accepted" });
}

describe("the oauth2 scheme", () => {
  test("injects the access token as a bearer token, on the API's hosts only, and takes the client's away", () => {
    const provider = parse();
    const plan = planFor(selectAuth(provider, { host: "api.acme.example", method: "GET", path: "/" }));
    assert.deepEqual(plan.headers, [
      { name: "authorization", prefix: "Bearer ", suffix: "", render: { encoding: "raw", fields: [ACCESS_TOKEN] } },
    ]);
    assert.equal(plan.token, provider.auth[0]);
    assert.equal(selectAuth(provider, { host: "login.acme.example", method: "POST", path: "/t/token" }).scheme, "none");
    const { fields } = removeCarriers(["Authorization", "Bearer mine", "X-A", "1"], "", provider.carriers);
    assert.deepEqual(fields, ["X-A", "1"]);
  });

  test("builds the token request in bytes, percent-encoded, and names the secret of the path", () => {
    const request = tokenRequest(ruleOf(parse()), secretsOf(VALUES));
    assert.equal(request.path, "/{tenant}/token");
    assert.deepEqual([...request.secrets.keys()], ["tenant"]);
    assert.deepEqual(Object.fromEntries(new URLSearchParams(request.body.toString())), {
      grant_type: "refresh_token",
      refresh_token: VALUES.refresh_token,
      client_id: VALUES.client_id,
      client_secret: VALUES.client_secret,
      scope: "https://api.acme.example/.default",
    });
  });

  test("shows the client with Basic when the file says so, and then not in the body", () => {
    const rule = ruleOf(parse(FILE.replace("clientAuth: body", "clientAuth: basic")));
    const request = tokenRequest(rule, secretsOf(VALUES));
    assert.ok(request.fields.some(([name, value]) => name === "authorization" && value === "Basic {client_basic}"));
    const basic = request.secrets
      .get("client_basic")
      ?.use((bytes) => Buffer.from(bytes.toString(), "base64").toString());
    assert.equal(basic, "id:s&=+/é");
    assert.doesNotMatch(request.body.toString(), /client_/);
  });

  test("names the field that is missing", () => {
    const { refresh_token: _, ...rest } = VALUES;
    assert.throws(() => tokenRequest(ruleOf(parse()), secretsOf(rest)), /no field "refresh_token"/);
  });

  test("a file whose parts do not fit is refused with the place", () => {
    assert.match(
      refused((text) => text.replace("tokenHost: login", "tokenHost: other")),
      /auth\[0\]\.tokenHost: "other\.acme\.example" is not a host/,
    );
    assert.match(
      refused((text) => text.replace("{tenant}", "{client_secret}")),
      /tokenPath: \{client_secret\} must name a field that is no secret/,
    );
    assert.match(
      refused((text) => text.replace("clientId: client_id", "clientId: nobody")),
      /clientId: field "nobody" is not in fields/,
    );
    assert.match(
      refused((text) => text.replace("    refreshToken: refresh_token\n", "")),
      /grant: refresh-token needs refreshToken/,
    );
    assert.match(
      refused((text) => text.replace("grant: refresh-token", "grant: client-credentials")),
      /grant: refresh-token needs refreshToken/,
    );
  });
});

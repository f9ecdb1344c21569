import assert from "node:assert/strict";
import { request } from "node:http";
import { type TestContext, test } from "node:test";
import { addCredential, type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";

const HOST = "api.anthropic.com";
const POLICY = `
version: 1
clients:
  backend: { token: true, actsFor: users }
  app: { token: true }
routes:
  anthropic:
    provider: anthropic
    credentials: { owner: user, else: shared }
    clients: [backend, app]
    limits: [ { name: mine, per: [user], requests: 2/h } ]
`;

const credential = (key: string, ownerUser?: string) => ({
  provider: "anthropic",
  category: "ai",
  hosts: [HOST],
  fields: { api_key: key },
  ...(ownerUser === undefined ? {} : { ownerUser }),
});

function ask(
  sidekey: RunningSidekey,
  client: string,
  user?: string,
): Promise<{ status: number; code: string | undefined }> {
  const basic = Buffer.from(`${client}:${sidekey.tokens[client]}`).toString("base64");
  const headers = {
    host: HOST,
    "proxy-authorization": `Basic ${basic}`,
    ...(user === undefined ? {} : { "sidekey-user": user }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port: sidekey.port, path: `http://${HOST}/v1/models`, headers });
    outgoing.once("response", (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, code: response.headers["sidekey-error"]?.toString() });
    });
    outgoing.once("error", reject);
    outgoing.end();
  });
}

async function scene(t: TestContext) {
  const provider = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "{}" }) });
  const sidekey = await startSidekey(t, {
    policy: POLICY,
    clients: ["backend", "app"],
    credentials: {
      shared: credential("key-shared"),
      "of-ada": credential("key-ada", "ada"),
      "of-bob": credential("key-bob", "bob"),
    },
    hosts: { [HOST]: { port: provider.port, caPem: provider.caPem } },
  });
  return { provider, sidekey };
}

test("a client that acts for users gets each user's own key, the shared one for the others, and nobody else's", async (t) => {
  const { sidekey, provider } = await scene(t);
  for (const [user, key] of [
    ["ada", "key-ada"],
    ["bob", "key-bob"],
    ["eve", "key-shared"],
  ] as const) {
    assert.equal((await ask(sidekey, "backend", user)).status, 200, user);
    assert.deepEqual(provider.requests.at(-1)?.values("x-api-key"), [key], user);
    assert.deepEqual(provider.requests.at(-1)?.values("sidekey-user"), [], user);
  }
  assert.equal((await ask(sidekey, "app")).status, 200);
  assert.deepEqual(provider.requests.at(-1)?.values("x-api-key"), ["key-shared"]);

  const before = provider.requests.length;
  assert.deepEqual(await ask(sidekey, "app", "ada"), { status: 403, code: "not_allowed" });
  assert.equal(provider.requests.length, before);
});

test("a user's limit is the user's own, a disabled key is not replaced by the shared one, and a new key takes over", async (t) => {
  const { sidekey, provider } = await scene(t);
  const statuses = [];
  for (const user of ["bob", "bob", "bob", "ada"]) statuses.push((await ask(sidekey, "backend", user)).status);
  assert.deepEqual(statuses, [200, 200, 429, 200]);

  await sidekey.withVault((vault) => {
    vault.setState("of-ada", "disabled", "test");
    addCredential(vault, "of-eve", credential("key-eve", "eve"));
  });
  await sidekey.daemon.reload();
  assert.deepEqual(await ask(sidekey, "backend", "ada"), { status: 503, code: "no_usable_credential" });
  assert.equal((await ask(sidekey, "backend", "eve")).status, 200);
  assert.deepEqual(provider.requests.at(-1)?.values("x-api-key"), ["key-eve"]);
});

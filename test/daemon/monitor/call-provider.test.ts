import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Config } from "../../../src/daemon/config.ts";
import { openCalls } from "../../../src/daemon/monitor/call-provider.ts";
import { CallError, type ProviderCall } from "../../../src/daemon/monitor/provider-call.ts";
import { Secret } from "../../../src/secret.ts";
import { type StandInHandler, type StandInOptions, startStandIn } from "../../support/stand-in.ts";

const HOST = "api.provider.example";

const LISTEN: Config["listen"] = {
  proxy: { host: "127.0.0.1", port: 1 },
  proxySocket: null,
  admin: null,
  metrics: null,
};

async function scene(t: TestContext, handler?: StandInHandler, options: Partial<StandInOptions> = {}) {
  const provider = await startStandIn(t, { hostnames: [HOST], ...(handler ? { handler } : {}), ...options });
  const hosts = new Map([[HOST, { address: "127.0.0.1", port: provider.port, ca: provider.caPem }]]);
  const calls = openCalls({ upstream: { hosts, proxy: null }, listen: LISTEN });
  t.after(() => calls.close());
  return { provider, call: calls.call };
}

function call(changes: Partial<ProviderCall> = {}): ProviderCall {
  return {
    host: HOST,
    port: 443,
    method: "GET",
    path: "/v1/key",
    fields: [],
    body: null,
    secrets: new Map(),
    timeoutMs: 5_000,
    ...changes,
  };
}

const secrets = (entries: Record<string, string>): Map<string, Secret> =>
  new Map(Object.entries(entries).map(([name, text]) => [name, Secret.copyOf(Buffer.from(text, "latin1"))]));

async function failure(promise: Promise<unknown>): Promise<CallError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof CallError, `expected a CallError, got ${String(error)}`);
  return error;
}

test("secrets take the places of their names: as they are in fields, percent-encoded in the path", async (t) => {
  const { provider, call: send } = await scene(t, () => ({
    status: 207,
    headers: { "X-Left": "7", "x-more": ["a", "b"] },
    body: "hello",
  }));
  const answer = await send(
    call({
      path: "/v1/key?apikey={api_key}&again={api_key}",
      fields: [
        ["authorization", "Bearer {api_key}"],
        ["x-json", "{not_a_secret}"],
        ["x-id", "{id}:{api_key}"],
      ],
      secrets: secrets({ api_key: "k/1+2=", id: "me" }),
    }),
  );
  assert.equal(answer.status, 207);
  assert.equal(answer.headers.get("x-left"), "7");
  assert.equal(answer.headers.get("x-more"), "a, b");
  assert.equal(answer.body.toString("latin1"), "hello");
  const head = provider.received()[0]?.toString("latin1") ?? "";
  assert.match(head, /^GET \/v1\/key\?apikey=k%2F1%2B2%3D&again=k%2F1%2B2%3D HTTP\/1\.1\r\n/);
  assert.match(head, /\r\nauthorization: Bearer k\/1\+2=\r\n/);
  assert.match(head, /\r\nx-json: \{not_a_secret\}\r\n/);
  assert.match(head, /\r\nx-id: me:k\/1\+2=\r\n/);
  assert.match(head, /\r\nhost: api\.provider\.example\r\n/i);
  assert.deepEqual(provider.problems, []);
});

test("a body arrives whole, framed by its length, and the caller's own fields win over the defaults", async (t) => {
  const { provider, call: send } = await scene(t, () => ({ body: "ok" }));
  const body = Buffer.from(`{"client_secret":"${"s".repeat(5_000)}"}`);
  await send(
    call({
      method: "POST",
      body,
      fields: [
        ["user-agent", "mine"],
        ["content-type", "application/json"],
      ],
    }),
  );
  const request = provider.requests[0];
  assert.equal(request?.body.toString("latin1"), body.toString("latin1"));
  const head = provider.received()[0]?.toString("latin1") ?? "";
  assert.match(head, new RegExp(`\\r\\ncontent-length: ${body.length}\\r\\n`, "i"));
  assert.match(head, /\r\nuser-agent: mine\r\n/i);
  assert.doesNotMatch(head, /user-agent: sidekey/);
});

test("a one-byte and an empty body are sent as they are", async (t) => {
  const { provider, call: send } = await scene(t, () => ({ body: "ok" }));
  await send(call({ method: "POST", body: Buffer.from("1") }));
  await send(call({ method: "POST", body: Buffer.alloc(0) }));
  assert.deepEqual(
    provider.requests.map((request) => request.body.toString()),
    ["1", ""],
  );
});

test("a redirect is an answer and is not followed", async (t) => {
  const { provider, call: send } = await scene(t, () => ({
    status: 302,
    headers: { location: `https://${HOST}/elsewhere` },
  }));
  const answer = await send(call({ fields: [["authorization", "{k}"]], secrets: secrets({ k: "secret-key" }) }));
  assert.equal(answer.status, 302);
  assert.equal(provider.requests.length, 1);
});

test("an answer over 256 KiB is given up, one of exactly that size is read", async (t) => {
  const { call: send } = await scene(t, (request) => ({
    body: Buffer.alloc(256 * 1024 + (request.target === "/more" ? 1 : 0), 0x61),
  }));
  assert.equal((await send(call({ path: "/exact" }))).body.length, 256 * 1024);
  assert.equal((await failure(send(call({ path: "/more" })))).failure, "too_large");
});

test("a provider that accepts the connection and stays silent is given up in time", async (t) => {
  const { call: send } = await scene(t, () => undefined);
  const error = await failure(send(call({ timeoutMs: 150, path: "/v1/key?apikey=visible" })));
  assert.equal(error.failure, "timeout");
  assert.ok(error.message.includes(HOST) && !error.message.includes("visible"));
});

test("a provider that breaks off in the middle of its answer is a failure, not a short answer", async (t) => {
  const { call: send } = await scene(t, (_request, socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", () => socket.destroy());
  });
  assert.equal((await failure(send(call()))).failure, "connect");
});

test("an answer that is not HTTP is a protocol failure", async (t) => {
  const { call: send } = await scene(t, () => "SMTP 220 ready\r\n\r\n");
  assert.equal((await failure(send(call()))).failure, "protocol");
});

test("a certificate for another name gets no request at all", async (t) => {
  const { provider, call: send } = await scene(t, undefined, { certificate: "wrong-name" });
  const error = await failure(
    send(call({ fields: [["authorization", "{k}"]], secrets: secrets({ k: "secret-key" }) })),
  );
  assert.equal(error.failure, "tls");
  assert.equal(provider.requests.length, 0);
  assert.ok(!Buffer.concat(provider.received()).includes("secret-key"));
});

test("names that do not resolve, resolve inwards or lead nowhere are told apart", async (t) => {
  const answers: Record<string, string[]> = { "in.example": ["10.1.2.3"], "nowhere.example": ["127.0.0.1"] };
  const calls = openCalls({ upstream: { hosts: new Map(), proxy: null }, listen: LISTEN }, async (host) => {
    const found = answers[host];
    if (!found) throw new Error("ENOTFOUND");
    return found;
  });
  t.after(() => calls.close());
  assert.equal((await failure(calls.call(call({ host: "no.example" })))).failure, "dns");
  assert.equal((await failure(calls.call(call({ host: "in.example" })))).failure, "refused_address");
  const open = new Map([["gone.example", { address: "127.0.0.1", port: 1, ca: null }]]);
  const closed = openCalls({
    upstream: { hosts: open, proxy: null },
    listen: { ...LISTEN, proxy: { host: "127.0.0.1", port: 2 } },
  });
  t.after(() => closed.close());
  assert.equal((await failure(closed.call(call({ host: "gone.example" })))).failure, "connect");
});

test("a secret that no header can carry is refused before anything is sent", async (t) => {
  const { provider, call: send } = await scene(t);
  const broken = call({ fields: [["authorization", "Bearer {k}"]], secrets: secrets({ k: "a\r\nx-evil: 1" }) });
  await assert.rejects(send(broken), /line break/);
  assert.equal(provider.connections(), 0);
});

test("the caller's secrets are left to the caller, and a wiped one is never sent as zeros", async (t) => {
  const { provider, call: send } = await scene(t, () => ({ body: "ok" }));
  const held = secrets({ k: "secret-key" });
  await send(call({ fields: [["authorization", "{k}"]], secrets: held }));
  assert.equal(held.get("k")?.wiped, false);
  held.get("k")?.wipe();
  await assert.rejects(send(call({ fields: [["authorization", "{k}"]], secrets: held })), /wiped/);
  assert.equal(provider.requests.length, 1);
});

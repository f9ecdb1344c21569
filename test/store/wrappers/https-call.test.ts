import assert from "node:assert/strict";
import { before, test } from "node:test";
import { createServer } from "node:tls";
import { Secret } from "../../../src/secret.ts";
import { ready } from "../../../src/store/crypto.ts";
import { UnlockError, type UnlockProblemCode } from "../../../src/store/errors.ts";
import { httpsCall } from "../../../src/store/wrappers/https-call.ts";
import { type StandIn, startStandIn } from "../../support/stand-in.ts";
import { makeAuthority } from "../../support/test-authority.ts";

const never = new AbortController().signal;
const as = (code: UnlockProblemCode, words: RegExp) => (error: unknown) =>
  error instanceof UnlockError && error.code === code && words.test(error.message);

before(ready);

function call(server: Pick<StandIn, "port" | "caPem">, path = "/") {
  return { method: "GET", url: new URL(`https://localhost:${server.port}${path}`), ca: server.caPem } as const;
}

test("secrets go into header fields as bytes, next to ordinary fields and a body", async (t) => {
  const server = await startStandIn(t, { hostnames: ["localhost"], handler: (request) => ({ body: request.body }) });
  const token = Secret.copyOf(Buffer.from("canary-{token}-skm"));
  const answer = await httpsCall(
    {
      ...call(server, "/a?b=c"),
      method: "POST",
      fields: [
        ["X-One", "Bearer {token}"],
        ["X-Two", "{token}{other}"],
        ["X-Three", "plain"],
      ],
      secrets: new Map([
        ["token", token],
        ["other", Secret.copyOf(Buffer.from("+2"))],
      ]),
      body: Buffer.from("the body"),
    },
    never,
  );
  assert.equal(answer.body.toString(), "the body");
  const [request] = server.requests;
  assert.deepEqual(request?.headers, [
    ["Host", `localhost:${server.port}`],
    ["Connection", "close"],
    ["X-One", "Bearer canary-{token}-skm"],
    ["X-Two", "canary-{token}-skm+2"],
    ["X-Three", "plain"],
    ["Content-Length", "8"],
  ]);
  assert.equal(request?.target, "/a?b=c");
  assert.equal(token.wiped, false);
});

test("nothing is followed, and nothing too long is read", async (t) => {
  const server = await startStandIn(t, {
    hostnames: ["localhost"],
    handler: ({ target }) => {
      if (target === "/moved") return { status: 302, headers: { location: "/elsewhere" } };
      return { body: Array.from({ length: 70 }, () => "x".repeat(1000)) };
    },
  });
  assert.equal((await httpsCall(call(server, "/moved"), never)).status, 302);
  await assert.rejects(httpsCall(call(server, "/long"), never), as("lying", /more than 65536 bytes/));
  assert.equal(server.requests.length, 2);
});

test("a connection that breaks, a silent server and an aborted call end with an error of their own", async (t) => {
  const server = await startStandIn(t, {
    hostnames: ["localhost"],
    handler: ({ target }, socket) => {
      if (target === "/reset") socket.destroy();
      if (target === "/cut") socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort");
      if (target === "/junk") socket.end("SSH-2.0-OpenSSH\r\n");
    },
  });
  for (const path of ["/reset", "/cut", "/junk"]) {
    await assert.rejects(
      httpsCall(call(server, path), never),
      as("unreachable", /localhost:\d+ cannot be reached/),
      path,
    );
  }
  const controller = new AbortController();
  const silent = httpsCall(call(server, "/silent"), controller.signal);
  const deadline = setInterval(() => {
    if (server.requests.length === 4) controller.abort();
  }, 5);
  t.after(() => clearInterval(deadline));
  await assert.rejects(silent, as("timeout", /did not answer in time/));
  await assert.rejects(httpsCall(call(server), controller.signal), as("timeout", /did not answer in time/));
});

test("a server that speaks only old TLS is told from one with a wrong certificate", async (t) => {
  const authority = makeAuthority();
  const leaf = authority.issue({ hostnames: ["localhost"] });
  const versions = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
  const server = createServer({ cert: leaf.certPem, key: leaf.keyPem, ...versions });
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  await assert.rejects(
    httpsCall(call({ port, caPem: authority.caPem }), never),
    as("unreachable", /does not speak TLS 1\.2 or newer/),
  );
});

test("plain HTTP is spoken to link-local and loopback addresses only", async (t) => {
  const server = await startStandIn(t, { hostnames: ["127.0.0.1"], tls: false });
  const plain = new URL(`http://127.0.0.1:${server.port}/`);
  assert.equal((await httpsCall({ method: "GET", url: plain, ca: null }, never)).body.toString(), "ok");
  for (const url of ["http://vault.example/", "http://10.0.0.1/", "http://127.0.0.1.example/", "ftp://127.0.0.1/"]) {
    const refused = httpsCall({ method: "GET", url: new URL(url), ca: null }, never);
    await assert.rejects(refused, as("malformed", /is not https/), url);
  }
});

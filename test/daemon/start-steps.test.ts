import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { StartError } from "../../src/daemon/start-error.ts";
import { listenOn, proxyCredentials, selfCheck } from "../../src/daemon/start-steps.ts";
import { Secret } from "../../src/secret.ts";

async function listen(at: { host: string; port: number }): Promise<{ host: string; port: number }> {
  const server = createServer();
  server.listen(at.port, at.host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return { host: at.host, port };
}

test("the splice is tried at start with a certificate made for it", async () => {
  await selfCheck(Date.now());
});

test("a self-check that cannot succeed is a start error with its reason", async () => {
  const farFuture = Date.UTC(2090, 0, 1);
  await assert.rejects(selfCheck(farFuture), (error) => error instanceof StartError && error.code === "self_check");
});

test("a port in use is named with the field to change", async (t) => {
  const taken = createServer();
  taken.listen(0, "127.0.0.1");
  await once(taken, "listening");
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  await assert.rejects(listenOn("listen.proxy", { host: "127.0.0.1", port }, listen), (error) => {
    assert.ok(error instanceof StartError);
    assert.equal(error.code, "port_in_use");
    assert.match(
      error.message,
      new RegExp(`^listen\\.proxy: cannot listen on 127\\.0\\.0\\.1:${port}, .*change listen\\.proxy`),
    );
    return true;
  });
  assert.equal((await listenOn("listen.proxy", { host: "127.0.0.1", port: 0 }, listen)).host, "127.0.0.1");
});

test("an address that is not this machine's is an io error with its code", async () => {
  await assert.rejects(
    listenOn("listen.metrics", { host: "203.0.113.1", port: 0 }, listen),
    (error) =>
      error instanceof StartError && error.code === "io" && /listen\.metrics.*EADDRNOTAVAIL/.test(error.message),
  );
});

test("G2 no-string: the upstream proxy's password becomes base64 in bytes, and is wiped", () => {
  const password = Secret.copyOf(Buffer.from("p:w\u00e9", "latin1"));
  const credentials = proxyCredentials({ host: "proxy.test", port: 3128, user: "me", password });
  assert.equal(password.wiped, true);
  assert.equal(
    credentials?.use((bytes) => bytes.toString()),
    Buffer.from("me:p:w\u00e9", "latin1").toString("base64"),
  );
  assert.equal(proxyCredentials({ host: "proxy.test", port: 3128, user: null, password: null }), null);
});

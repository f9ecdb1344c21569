import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type RequestOptions, request } from "node:https";
import { type TestContext, test } from "node:test";
import { DEMO_HOST, startDemo } from "../../src/daemon/demo-provider.ts";
import { connectRaw } from "../support/raw-client.ts";

async function running(t: TestContext) {
  const demo = await startDemo(Date.now());
  t.after(() => demo.close());
  const [host, { address, port, ca }] = demo.override;
  assert.deepEqual([host, address], [DEMO_HOST, "127.0.0.1"]);
  assert.ok(ca);
  const ask = (options: RequestOptions): Promise<[number, Record<string, unknown>]> =>
    new Promise((resolve, reject) => {
      const call = request({ host: address, port, ca, servername: host, agent: false, ...options }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve([response.statusCode ?? 0, JSON.parse(Buffer.concat(chunks).toString())]));
      });
      call.on("error", reject).end();
    });
  return { demo, port, ca, ask };
}

test("it tells that the key arrived, how long it is and its fingerprint, and never the key itself", async (t) => {
  const { ask } = await running(t);
  const key = "demo-key-0123456789";
  const [status, answer] = await ask({ path: "/hello?x=1", headers: { "X-Demo-Key": key, host: DEMO_HOST } });
  assert.equal(status, 200);
  const sha256 = `${createHash("sha256").update(key).digest("hex").slice(0, 16)}...`;
  assert.deepEqual(answer.key_received, { field: "x-demo-key", length: key.length, sha256 });
  assert.deepEqual([answer.method, answer.path, answer.host], ["GET", "/hello", DEMO_HOST]);
  assert.ok(!JSON.stringify(answer).includes(key));
});

test("a request without the key is told so, and other values are not repeated", async (t) => {
  const { ask } = await running(t);
  const [status, answer] = await ask({
    method: "POST",
    path: "/?apikey=secret-in-query",
    headers: { authorization: "secret" },
  });
  assert.deepEqual([status, answer.key_received, answer.path], [401, null, "/"]);
  assert.ok(!JSON.stringify(answer).includes("secret"));
});

test("only its own authority vouches for it, under its own name", async (t) => {
  const { ask } = await running(t);
  await assert.rejects(ask({ ca: undefined }), { code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" });
  await assert.rejects(ask({ servername: "other.sidekey.test" }), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
});

test("closing ends the connections that are open", async (t) => {
  const { demo, port, ca } = await running(t);
  const connection = await connectRaw(t, { port, tls: { ca, servername: DEMO_HOST } });
  await connection.write(`GET / HTTP/1.1\r\nHost: ${DEMO_HOST}\r\n\r\n`);
  await connection.read((bytes) => bytes.includes("without a key"));
  demo.close();
  assert.equal((await connection.read()).ended, "close");
});

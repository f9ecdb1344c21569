import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { connect } from "node:tls";
import { type ClientOptions, WebSocket } from "ws";
import { type ClientScene, HOSTS, startClientScene } from "../support/client-scene.ts";

const PATH = "/v1/realtime?model=gpt-realtime";

/** Says hello and sends bytes, and asserts that both come back changed and unchanged. */
async function converse(t: TestContext, url: string, options: ClientOptions): Promise<void> {
  const client = new WebSocket(url, options);
  t.after(() => client.terminate());
  const received: (string | number)[] = [];
  const bytes = Buffer.alloc(70_000, 7);
  const all = new Promise<void>((resolve, reject) => {
    client.once("error", reject);
    client.on("message", (data: Buffer, binary) => {
      received.push(binary ? data.length : data.toString("utf8"));
      if (received.length === 3) resolve();
    });
  });
  await once(client, "open");
  client.send("grüße");
  client.send(bytes);
  await all;
  assert.deepEqual(received, ['{"type":"session.created"}', "GRÜSSE", bytes.length]);
  client.close(1000, "done");
  const [code, reason] = (await once(client, "close")) as [number, Buffer];
  assert.equal(`${code} ${reason.toString()}`, "1000 done");
}

/** What a proxy agent does: CONNECT, then TLS with the name of the host. */
async function tunnel(scene: ClientScene, host: string): Promise<Socket> {
  const authorization = `Basic ${Buffer.from(`app:${scene.token}`).toString("base64")}`;
  const asked = request({
    host: "127.0.0.1",
    port: scene.sidekey.port,
    method: "CONNECT",
    path: `${host}:443`,
    headers: { host: `${host}:443`, "proxy-authorization": authorization },
  });
  asked.end();
  const [response, socket] = (await once(asked, "connect")) as [{ statusCode: number }, Socket];
  assert.equal(response.statusCode, 200);
  const secure = connect({ socket, servername: host, ca: scene.sidekey.caPem, ALPNProtocols: ["http/1.1"] });
  await once(secure, "secureConnect");
  return secure;
}

test("the ws client talks to a realtime API by base URL, with the token as its key", async (t) => {
  const scene = await startClientScene(t);
  const url = `ws://127.0.0.1:${scene.sidekey.port}/openai${PATH}`;
  await converse(t, url, { headers: { authorization: `Bearer ${scene.token}` } });
  const [handshake] = scene.arrived(1);
  assert.equal(handshake?.target, PATH);
});

test("the ws client talks to a realtime API through CONNECT", async (t) => {
  const scene = await startClientScene(t);
  const socket = await tunnel(scene, HOSTS.openai);
  await converse(t, `wss://${HOSTS.openai}${PATH}`, {
    createConnection: () => socket,
    headers: { authorization: "Bearer sk-placeholder", origin: "https://app.example" },
  });
  scene.arrived(1);
});

test("a WebSocket with a wrong token gets 401 and reaches nobody", async (t) => {
  const scene = await startClientScene(t);
  const url = `ws://127.0.0.1:${scene.sidekey.port}/openai${PATH}`;
  const client = new WebSocket(url, { headers: { authorization: "Bearer sk-placeholder" } });
  const [, response] = (await once(client, "unexpected-response")) as [unknown, { statusCode: number }];
  assert.equal(response.statusCode, 401);
  client.on("error", () => {});
  client.terminate();
  scene.arrived(0);
});

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { connectRaw, type RawConnection } from "../support/raw-client.ts";
import { FORMS, type Form, proxyAuthorization } from "./form-client.ts";
import { HOST, KEY, type OneRoute, oneRoute, recordsAgree } from "./one-route.ts";
import { type ProviderCall, startRawProvider } from "./raw-provider.ts";

const TIMEOUT = { timeout: 20_000 };
const MEGABYTE = 1024 * 1024;
const UPGRADES = FORMS.filter((form) => form !== "connect-h2");

/** RFC 6455 section 4.2.2. */
function acceptFor(head: string): string {
  const key = /^sec-websocket-key: *(\S+)/im.exec(head)?.[1] ?? "";
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

function switching(accept: string, more = ""): string {
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${more}\r\n`;
}

/** An unmasked frame (RFC 6455 section 5.2), final, with two bytes of length or none. */
function frame(payload: Buffer, opcode = 2): Buffer {
  const { length } = payload;
  const header = length < 126 ? [0x80 | opcode, length] : [0x80 | opcode, 126, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(header), payload]);
}

/** Accepts the handshake and sends everything back. */
function echo({ socket, head, rest }: ProviderCall): void {
  socket.write(switching(acceptFor(head), "Set-Cookie: a=b\r\nSec-WebSocket-Protocol: chat\r\n"));
  socket.write(rest);
  socket.on("data", (chunk: Buffer) => {
    if (!socket.write(chunk)) socket.pause();
  });
  socket.on("drain", () => socket.resume());
  socket.once("end", () => socket.end());
  socket.resume();
}

function handshake(form: Form, sidekey: OneRoute, more = ""): string {
  const target =
    form === "absolute" ? `http://${HOST}/v1/realtime` : form === "origin" ? "/openai/v1/realtime" : "/v1/realtime";
  const host = form === "origin" ? "localhost" : HOST;
  return (
    `GET ${target}?model=x HTTP/1.1\r\nHost: ${host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n` +
    `Proxy-Authorization: ${proxyAuthorization(sidekey)}\r\n${more}\r\n`
  );
}

/** A connection on which a request of this form can be written. */
async function connected(t: TestContext, form: Form, sidekey: OneRoute): Promise<RawConnection> {
  const connection = await connectRaw(t, { port: sidekey.port });
  if (form !== "connect-h1") return connection;
  await connection.write(`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`);
  await connection.read(headIn);
  connection.discard();
  return connection.startTls({ ca: sidekey.caPem, servername: HOST, alpn: ["http/1.1"] });
}

function headIn(bytes: Buffer): boolean {
  return bytes.includes("\r\n\r\n");
}

for (const form of UPGRADES) {
  test(`${form}: an accepted WebSocket carries bytes both ways, also those sent too early`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST, echo);
    const sidekey = await oneRoute(t, provider);
    const connection = await connected(t, form, sidekey);
    await connection.write(
      Buffer.concat([
        Buffer.from(handshake(form, sidekey, "Sec-WebSocket-Protocol: openai-insecure-api-key.sk-mine\r\n")),
        frame(Buffer.from("early")),
      ]),
    );
    const opened = await connection.read((bytes) => bytes.includes("early"));
    assert.match(opened.text, /^HTTP\/1\.1 101 /);
    assert.match(opened.text, /^sec-websocket-accept: /im);
    assert.doesNotMatch(opened.text, /set-cookie/i);
    const { head } = await provider.call(1);
    assert.match(head, /^GET \/v1\/realtime\?model=x HTTP\/1\.1\r\n/);
    assert.match(head, new RegExp(`^authorization: Bearer ${KEY}$`, "im"));
    assert.match(head, /^connection: upgrade\r$/im);
    assert.doesNotMatch(head, /sk-mine|skc_/);
    connection.discard();
    const sent = Buffer.concat(Array.from({ length: 80 }, () => frame(randomBytes(MEGABYTE / 20))));
    const back = connection.read((bytes) => bytes.length === sent.length, 15_000);
    await connection.write(sent);
    assert.ok((await back).bytes.equals(sent), "what came back is not what was sent");
    connection.socket.end();
    assert.equal((await connection.read(undefined, 5_000)).ended, "close");
    const [line] = await sidekey.requestsLogged(1);
    assert.deepEqual([line?.status, line?.outcome], [101, "ok"]);
    assert.ok(Number(line?.bytes_up) >= sent.length && Number(line?.bytes_down) >= sent.length, JSON.stringify(line));
    await recordsAgree(sidekey, 1);
  });

  test(`${form}: the provider's close closes the client, and the other way round`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(
      t,
      HOST,
      ({ socket, head }) => void socket.write(switching(acceptFor(head))),
    );
    const sidekey = await oneRoute(t, provider);
    for (const first of ["provider", "client"]) {
      const connection = await connected(t, form, sidekey);
      await connection.write(handshake(form, sidekey));
      await connection.read(headIn);
      const call = await provider.call(first === "provider" ? 1 : 2);
      call.socket.resume();
      if (first === "provider") call.socket.destroy();
      else connection.close();
      await Promise.all([call.closed, connection.read()]);
    }
    await recordsAgree(sidekey, 2);
  });

  test(
    `${form}: a client that reads nothing of a WebSocket holds its provider only for a while`,
    TIMEOUT,
    async (t) => {
      const provider = await startRawProvider(t, HOST, ({ socket, head }) => {
        socket.write(switching(acceptFor(head)));
        const pour = (): void => {
          while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
        };
        socket.on("drain", pour).resume();
        pour();
      });
      const limits = { ...DEFAULT_LIMITS, slowClientMs: 300 };
      const sidekey = await oneRoute(t, provider, "", { config: { limits } });
      const connection = await connected(t, form, sidekey);
      await connection.write(handshake(form, sidekey));
      await connection.read(headIn);
      connection.socket.pause();
      // It says something all the time, so it is not idle.
      const talk = setInterval(() => connection.socket.write("x"), 50);
      t.after(() => clearInterval(talk));
      await (await provider.call(1)).closed;
      await recordsAgree(sidekey, 1);
    },
  );

  test(`${form}: a wrong Sec-WebSocket-Accept is a 502 and closes both sides`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(
      t,
      HOST,
      ({ socket }) => void socket.write(switching("bm90IHRoZSByaWdodCBvbmU=")),
    );
    const sidekey = await oneRoute(t, provider);
    const connection = await connected(t, form, sidekey);
    await connection.write(`${handshake(form, sidekey)}early`);
    const reply = await connection.read();
    assert.match(reply.text, /^HTTP\/1\.1 502 [\s\S]*^sidekey-error: upstream_protocol/im);
    assert.equal(reply.ended, "close");
    const call = await provider.call(1);
    call.socket.resume();
    await call.closed;
    assert.equal(String(call.rest), "");
    await recordsAgree(sidekey, 1);
  });

  test(`${form}: a refused upgrade is relayed and closed, and what follows it goes nowhere`, TIMEOUT, async (t) => {
    const received: Buffer[] = [];
    const provider = await startRawProvider(t, HOST, ({ socket, rest }) => {
      received.push(rest);
      socket.on("data", (chunk: Buffer) => received.push(chunk));
      socket.resume();
      socket.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 6\r\nX-Why: key\r\n\r\nno key");
    });
    const sidekey = await oneRoute(t, provider);
    const connection = await connected(t, form, sidekey);
    const smuggled = `GET http://${HOST}/smuggled HTTP/1.1\r\nHost: ${HOST}\r\nProxy-Authorization: ${proxyAuthorization(sidekey)}\r\n\r\n`;
    await connection.write(handshake(form, sidekey) + smuggled);
    const reply = await connection.read();
    assert.match(reply.text, /^HTTP\/1\.1 426 [\s\S]*^x-why: key\r$[\s\S]*\r\n\r\nno key$/im);
    assert.equal(reply.text.split("HTTP/1.1").length, 2);
    assert.equal(reply.ended, "close");
    await recordsAgree(sidekey, 1);
    assert.equal(provider.connections(), 1);
    assert.equal(Buffer.concat(received).toString(), "");
  });

  test(`${form}: sidekey's own refusal of an upgrade dials nobody`, TIMEOUT, async (t) => {
    const provider = await startRawProvider(t, HOST, echo);
    const sidekey = await oneRoute(t, provider, "allow: [ { paths: [/v1/models] } ]");
    for (const bad of [
      handshake(form, sidekey),
      handshake(form, sidekey).replace("Version: 13", "Version: 8"),
      handshake(form, sidekey).replace(/Key: \S+/, "Key: short"),
      handshake(form, sidekey).replace("GET", "POST"),
      handshake(form, sidekey).replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc"),
      handshake(form, sidekey).replace("\r\nUpgrade: websocket", "\r\nUpgrade: h2c"),
    ]) {
      const connection = await connected(t, form, sidekey);
      await connection.write(bad);
      const reply = await connection.read(headIn);
      assert.match(reply.text, /^HTTP\/1\.1 40[03] /);
      connection.close();
    }
    assert.equal(provider.connections(), 0);
    await recordsAgree(sidekey, 6);
  });
}

test("an answer other than 101 that pretends to upgrade is no raw connection", TIMEOUT, async (t) => {
  const provider = await startRawProvider(
    t,
    HOST,
    ({ socket, head }) =>
      void socket.write(
        `${switching(acceptFor(head)).replace("101 Switching Protocols", "200 OK\r\nContent-Length: 2")}ok`,
      ),
  );
  const sidekey = await oneRoute(t, provider);
  const connection = await connected(t, "absolute", sidekey);
  await connection.write(`${handshake("absolute", sidekey)}early`);
  const reply = await connection.read();
  assert.match(reply.text, /^HTTP\/1\.1 200 [\s\S]*\r\n\r\nok$/);
  assert.doesNotMatch(reply.text, /upgrade: websocket/i);
  await recordsAgree(sidekey, 1);
});

test("a 101 that nobody asked for is a 502", TIMEOUT, async (t) => {
  const provider = await startRawProvider(t, HOST, ({ socket }) => void socket.write(switching("x")));
  const sidekey = await oneRoute(t, provider);
  const connection = await connected(t, "absolute", sidekey);
  const authorization = `Proxy-Authorization: ${proxyAuthorization(sidekey)}`;
  await connection.write(`GET http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n${authorization}\r\n\r\n`);
  const reply = await connection.read(headIn);
  assert.match(reply.text, /^HTTP\/1\.1 502 [\s\S]*^sidekey-error: upstream_protocol/im);
  const call = await provider.call(1);
  call.socket.resume();
  await call.closed;
  await recordsAgree(sidekey, 1);
});

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { request } from "node:https";
import { connect as tcpConnect } from "node:net";
import { test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { connectRaw, sendRaw, wholeResponse } from "./raw-client.ts";
import { startStandIn } from "./stand-in.ts";
import { makeAuthority } from "./test-authority.ts";

const HOST = "api.stand-in.example";

function fetchText(port: number, ca: string, servername = HOST): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, ca, servername, headers: { host: servername } }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on("error", reject).end();
  });
}

test("an ordinary HTTPS client trusts the authority and gets the scripted answer", async (t) => {
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: () => ({ status: 203, headers: { "set-cookie": ["a=1", "b=2"] }, body: ["one ", "two"] }),
  });
  assert.deepEqual(await fetchText(standIn.port, standIn.caPem), { status: 203, body: "one two" });
  assert.equal(standIn.requests[0]?.servername, HOST);
  assert.deepEqual(standIn.problems, []);
});

test("request bytes are recorded exactly as they came, split over writes or not", async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST] });
  const text = "POST /v1?x=1 HTTP/1.1\r\nhost: h\r\nX-API-Key: k\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n";
  const reply = await sendRaw(t, {
    port: standIn.port,
    tls: { ca: standIn.caPem, servername: HOST },
    bytes: [text.slice(0, 30), text.slice(30)],
    pauseMs: 20,
    until: wholeResponse,
  });
  assert.match(reply.text, /^HTTP\/1\.1 200 .*ok$/s);
  assert.equal(standIn.requests[0]?.bytes.toString("latin1"), text);
  assert.equal(standIn.received()[0]?.toString("latin1"), text);
});

test("pipelined requests are answered in order on one connection", async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST], tls: false, handler: ({ target }) => ({ body: target }) });
  const reply = await sendRaw(t, {
    port: standIn.port,
    bytes: "GET /1 HTTP/1.1\r\nhost: h\r\n\r\nGET /2 HTTP/1.1\r\nhost: h\r\n\r\n",
    until: (received) => received.includes("/2"),
  });
  assert.match(reply.text, /\/1HTTP\/1\.1 .*\/2$/s);
  assert.deepEqual(
    standIn.requests.map(({ connection }) => connection),
    [1, 1],
  );
});

test("without the required key the answer is 401 and the handler is not called", async (t) => {
  let called = 0;
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    requireKey: (received) => received.values("x-api-key").join() === "right",
    handler: () => {
      called += 1;
      return { body: "in" };
    },
  });
  assert.equal((await fetchText(standIn.port, standIn.caPem)).status, 401);
  assert.equal(called, 0);
});

test("raw bytes are sent as they are, so that broken providers can be played", async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST], tls: false, handler: () => "HTTP/1.1 200 OK\nbad\0" });
  const { port } = standIn;
  const reply = await sendRaw(t, {
    port,
    bytes: "GET / HTTP/1.1\r\nhost: h\r\n\r\n",
    until: (received) => received.includes(0),
  });
  assert.equal(reply.text, "HTTP/1.1 200 OK\nbad\0");
});

test("a handler that returns nothing owns the socket, as after an upgrade", async (t) => {
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    tls: false,
    handler: (_request, socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
      socket.on("data", (chunk) => socket.write(chunk.toString().toUpperCase()));
    },
  });
  const connection = await connectRaw(t, { port: standIn.port });
  await connection.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  await connection.read(wholeResponse);
  connection.discard();
  await connection.write("hello");
  assert.equal((await connection.read((received) => received.length >= 5)).text, "HELLO");
  assert.equal(standIn.requests.length, 1);
});

test("bytes that are not a request are reported and the connection is closed", async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST], tls: false });
  const reply = await sendRaw(t, { port: standIn.port, bytes: "nonsense\r\n\r\n" });
  assert.notEqual(reply.ended, "timeout");
  assert.match(standIn.problems[0] ?? "", /request line/);
});

test("each kind of bad certificate is refused by a client that trusts the authority", async (t) => {
  const expected = [
    ["wrong-name", "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["expired", "CERT_HAS_EXPIRED"],
    ["not-yet-valid", "CERT_NOT_YET_VALID"],
    ["self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT"],
  ] as const;
  for (const [certificate, code] of expected) {
    const standIn = await startStandIn(t, { hostnames: [HOST], certificate });
    await assert.rejects(fetchText(standIn.port, standIn.caPem), { code }, certificate);
    assert.equal(standIn.requests.length, 0);
  }
});

test("one authority serves several stand-ins, and its certificates are valid for names and addresses", async (t) => {
  const authority = makeAuthority("shared");
  const first = await startStandIn(t, { hostnames: [HOST, "127.0.0.1"], authority });
  const second = await startStandIn(t, { hostnames: ["other.example"], authority });
  assert.equal(first.caPem, second.caPem);
  assert.equal((await fetchText(second.port, first.caPem, "other.example")).status, 200);
  const cert = new X509Certificate(authority.issue({ hostnames: ["a.example", "127.0.0.1", "::1"] }).certPem);
  assert.equal(cert.checkHost("a.example"), "a.example");
  assert.equal(cert.checkIP("127.0.0.1"), "127.0.0.1");
  assert.equal(cert.checkIssued(new X509Certificate(authority.caPem)), true);
});

test("TLS can be started inside a connection that a CONNECT opened", async (t) => {
  const { port, caPem } = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "inside" }) });
  const relay = await startStandIn(t, {
    hostnames: [],
    tls: false,
    handler: (_request, socket) => {
      const onward = tcpConnect({ port, host: "127.0.0.1" });
      socket.write("HTTP/1.1 200 Connected\r\n\r\n");
      socket.pipe(onward).pipe(socket);
      t.after(() => onward.destroy());
    },
  });
  const outer = await connectRaw(t, { port: relay.port });
  await outer.write(`CONNECT ${HOST}:443 HTTP/1.1\r\nhost: ${HOST}:443\r\n\r\n`);
  assert.match((await outer.read(wholeResponse)).text, /^HTTP\/1\.1 200 /);
  const inner = await outer.startTls({ ca: caPem, servername: HOST });
  await inner.write(`GET / HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`);
  assert.match((await inner.read(wholeResponse)).text, /inside$/);
});

test("a closed stand-in refuses new connections", async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST] });
  await standIn.close();
  await assert.rejects(
    new Promise((_resolve, reject) => {
      tlsConnect({ port: standIn.port, host: "127.0.0.1" }).on("error", reject);
    }),
    { code: "ECONNREFUSED" },
  );
});

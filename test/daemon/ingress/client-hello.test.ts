import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { before, test } from "node:test";
import * as tls from "node:tls";
import fc from "fast-check";
import { MAX_HELLO_BYTES, readClientHello } from "../../../src/daemon/ingress/client-hello.ts";

/** The first bytes that a real TLS client sends. */
function capture(options: tls.ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(Buffer.from(chunk));
        done();
      },
    });
    const socket = tls.connect({ ...options, socket: wire });
    socket.on("error", () => {});
    setImmediate(() => setImmediate(() => socket.destroy()));
  });
}

let hello: Buffer;
before(async () => {
  hello = await capture({ servername: "api.p.test" });
});

/** `hello` with its handshake bytes changed, lengths of record and message set anew. */
function rewritten(edit: (handshake: Buffer) => Buffer): Buffer {
  const body = edit(Buffer.from(hello.subarray(5)));
  body.writeUIntBE(body.length - 4, 1, 3);
  return Buffer.concat([recordHead(body.length), body]);
}

function recordHead(length: number): Buffer {
  return Buffer.from([22, 3, 1, length >> 8, length & 255]);
}

test("the server name of a real ClientHello is read, whatever else the client offers", async () => {
  const variants: tls.ConnectionOptions[] = [
    {},
    { ALPNProtocols: ["h2", "http/1.1"] },
    { maxVersion: "TLSv1.2" },
    { minVersion: "TLSv1.3", ecdhCurve: "X25519:P-256" },
    { ALPNProtocols: Array.from({ length: 300 }, (_, index) => `protocol-${index}`) },
  ];
  for (const variant of variants) {
    const bytes = await capture({ servername: "API.p.test", ...variant });
    assert.deepEqual(readClientHello(bytes), { kind: "hello", serverName: "api.p.test" });
  }
});

test("a client that names no server, or only its address, has none", async () => {
  assert.deepEqual(readClientHello(await capture({})), { kind: "hello", serverName: null });
  assert.deepEqual(readClientHello(await capture({ host: "127.0.0.1" })), { kind: "hello", serverName: null });
});

test("split at any byte, the first part is incomplete and the whole is read", () => {
  for (let cut = 0; cut < hello.length; cut++) {
    assert.deepEqual(readClientHello(hello.subarray(0, cut)), { kind: "incomplete" }, `${cut} bytes`);
  }
  const early = Buffer.concat([hello, Buffer.from([20, 3, 3, 0, 1, 1])]);
  assert.deepEqual(readClientHello(early), { kind: "hello", serverName: "api.p.test" });
});

test("what is not TLS is known by its first bytes", () => {
  for (const bytes of [
    "SSH-2.0-OpenSSH\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "\0",
    "\x80\x2e\x01\x03\x01",
    "\x15\x03\x01\0\x02\x02\x28",
  ]) {
    assert.deepEqual(readClientHello(Buffer.from(bytes, "latin1")), { kind: "not_tls" }, JSON.stringify(bytes));
  }
  assert.deepEqual(readClientHello(Buffer.from([22, 2, 1, 0, 5])), { kind: "not_tls" });
  assert.deepEqual(
    readClientHello(Buffer.from([22, 3, 1, 0x40, 1])),
    { kind: "not_tls" },
    "longer than a record may be",
  );
  assert.ok(MAX_HELLO_BYTES >= 16 * 1024 + 5);
});

test("another handshake message in the first record is no ClientHello", () => {
  const serverHello = Buffer.from(hello);
  serverHello[5] = 2;
  assert.deepEqual(readClientHello(serverHello), { kind: "not_tls" });
  assert.deepEqual(readClientHello(Buffer.concat([recordHead(0)])), { kind: "not_tls" });
});

test("a hello that goes on in a second record is refused, also when its name is in the first", () => {
  const handshake = hello.subarray(5);
  for (const cut of [1, 40, handshake.length - 1]) {
    const split = [handshake.subarray(0, cut), handshake.subarray(cut)];
    const bytes = Buffer.concat(split.flatMap((part) => [recordHead(part.length), part]));
    assert.deepEqual(readClientHello(bytes), { kind: "not_tls" }, `${cut} bytes in the first record`);
  }
});

test("a name whose lengths do not fit together is refused, so nobody can read another one there", () => {
  const at = hello.indexOf("api.p.test", 0, "latin1") - 5;
  const changes: Record<string, (handshake: Buffer) => void> = {
    "the name is longer than its extension": (bytes) => bytes.writeUInt16BE(300, at - 2),
    "the name is shorter than its extension": (bytes) => bytes.writeUInt16BE(3, at - 2),
    "the list is shorter than its extension": (bytes) => bytes.writeUInt16BE(4, at - 5),
    "the extension is longer than the hello": (bytes) => bytes.writeUInt16BE(60_000, at - 7),
  };
  for (const [what, change] of Object.entries(changes)) {
    const bytes = rewritten((handshake) => {
      change(handshake);
      return handshake;
    });
    assert.deepEqual(readClientHello(bytes), { kind: "not_tls" }, what);
  }
});

test("property: no bytes make it throw, and only a name that is really there is read", () => {
  const mutation = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 6 }), fc.nat(), (mutations, end) => {
      const bytes = Buffer.from(hello);
      for (const [at, value] of mutations) bytes[at % bytes.length] = value;
      const cut = bytes.subarray(0, end % (bytes.length + 1));
      for (const candidate of [bytes, cut]) {
        const read = readClientHello(candidate);
        if (read.kind !== "hello" || read.serverName === null) continue;
        assert.ok(candidate.toString("latin1").toLowerCase().includes(read.serverName));
      }
    }),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
      readClientHello(Buffer.from(noise));
      readClientHello(Buffer.concat([recordHead(noise.length), noise]));
      const asHello = Buffer.concat([Buffer.from([1, 0, 0, 0]), noise]);
      readClientHello(Buffer.concat([recordHead(asHello.length), asHello]));
    }),
    { numRuns: 3000 },
  );
});

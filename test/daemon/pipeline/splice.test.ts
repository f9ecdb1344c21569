import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { before, test } from "node:test";
import * as tls from "node:tls";
import { type SocketBinding, Splice, SpliceRefused } from "../../../src/daemon/pipeline/splice.ts";
import { Secret } from "../../../src/secret.ts";
import { makeCanary } from "../../support/canary.ts";
import { type Leaf, makeAuthority } from "../../support/test-authority.ts";

const HOST = "api.p.test";
const BINDING: SocketBinding = { authority: `${HOST}:443`, route: "p", client: "app" };
const HOSTS = new Set([BINDING.authority]);

const authority = makeAuthority();
let leaf: Leaf;
before(() => {
  leaf = authority.issue({ hostnames: [HOST] });
});

interface Line {
  readonly socket: tls.TLSSocket;
  /** What the splice handed to the socket, by reference. */
  readonly written: (Uint8Array | string)[];
  /** How many chunks each call of the stream's sink took. */
  readonly batches: number[];
  /** Ends the connection and gives every byte that arrived. */
  arrived(): Promise<Buffer>;
}

/** A verified TLS connection to a peer that only collects. */
async function connectLine(t: TestContext, splice: Splice, binding = BINDING, ca = authority.caPem): Promise<Line> {
  const server = tls.createServer({ cert: leaf.certPem, key: leaf.keyPem });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const received = new Promise<Buffer>((resolve) => {
    server.once("secureConnection", (peer) => {
      const chunks: Buffer[] = [];
      peer.on("data", (chunk: Buffer) => chunks.push(chunk));
      peer.on("error", () => {});
      peer.on("close", () => resolve(Buffer.concat(chunks)));
    });
  });
  const { port } = server.address() as AddressInfo;
  const verified = ca === authority.caPem;
  const socket = tls.connect({ port, host: "127.0.0.1", servername: HOST, ca, rejectUnauthorized: verified });
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  const { written, batches } = watchWrites(socket);
  splice.attach(socket, binding);
  return {
    socket,
    written,
    batches,
    arrived: () => {
      socket.end();
      socket.resume();
      return received;
    },
  };
}

/** Keeps a reference to every chunk below the splice, and counts what reaches the TLS engine together. */
function watchWrites(socket: tls.TLSSocket): Pick<Line, "written" | "batches"> {
  const written: (Uint8Array | string)[] = [];
  const batches: number[] = [];
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = ((chunk: Uint8Array | string, ...rest: unknown[]) => {
    written.push(chunk);
    return write(chunk, ...rest);
  }) as typeof socket.write;
  const one = socket._write.bind(socket);
  socket._write = (chunk, encoding, done) => {
    batches.push(1);
    one(chunk, encoding, done);
  };
  const several = socket._writev?.bind(socket);
  socket._writev = (chunks, done) => {
    batches.push(chunks.length);
    several?.(chunks, done);
  };
  return { written, batches };
}

function secretOf(text: string): Secret {
  return Secret.copyOf(Buffer.from(text, "latin1"));
}

function flushed(socket: tls.TLSSocket): Promise<void> {
  return new Promise((resolve) => socket.write(Buffer.alloc(0), () => resolve()));
}

test("G2 no-string: a marker in a head is replaced by the secret's bytes, and nothing else changes", async (t) => {
  const splice = new Splice();
  const key = makeCanary();
  const slot = splice.open(Secret.copyOf(key.bytes), BINDING, HOSTS);
  const line = await connectLine(t, splice);
  line.socket.write(`GET / HTTP/1.1\r\nhost: ${HOST}\r\nx-name: caf\xe9\r\nx-key: ${slot.marker}\r\n\r\n`, "latin1");
  const arrived = await line.arrived();
  assert.equal(
    arrived.toString("latin1"),
    `GET / HTTP/1.1\r\nhost: ${HOST}\r\nx-name: caf\xe9\r\nx-key: ${key.text}\r\n\r\n`,
  );
  assert.equal(slot.used, true);
});

test("several markers, in the path and in fields, each get their own secret", async (t) => {
  const splice = new Splice();
  const [path, id, long] = ["in-the-path", "i", randomBytes(600).toString("hex")] as const;
  const slots = [path, id, long].map((text) => splice.open(secretOf(text), BINDING, HOSTS));
  const line = await connectLine(t, splice);
  const [a, b, c] = slots.map((slot) => slot.marker);
  line.socket.write(`GET /x?apikey=${a}&b=1 HTTP/1.1\r\nid: ${b}\r\nauth: Key ${b === a ? "" : c}!\r\n\r\n`, "latin1");
  const arrived = await line.arrived();
  assert.equal(
    arrived.toString("latin1"),
    `GET /x?apikey=${path}&b=1 HTTP/1.1\r\nid: ${id}\r\nauth: Key ${long}!\r\n\r\n`,
  );
  for (const slot of slots) slot.release();
  assert.equal(splice.openSlots, 0);
});

test("a marker at the very start and the very end of a write is found", async (t) => {
  const splice = new Splice();
  const slots = ["first", "second", "third"].map((text) => splice.open(secretOf(text), BINDING, HOSTS));
  const line = await connectLine(t, splice);
  line.socket.write(slots.map((slot) => slot.marker).join(""), "latin1");
  assert.equal((await line.arrived()).toString(), "firstsecondthird");
});

test("writes without a marker pass as they are, with their encoding and callback", async (t) => {
  const splice = new Splice();
  const line = await connectLine(t, splice);
  const bytes = Buffer.from("plain bytes ");
  await new Promise<void>((resolve) => line.socket.write(bytes, () => resolve()));
  await new Promise<void>((resolve) => line.socket.write("636166c3a9", "hex", () => resolve()));
  assert.deepEqual(line.written, [bytes, "636166c3a9"]);
  assert.equal((await line.arrived()).toString("utf8"), "plain bytes café");
  assert.equal(bytes.toString(), "plain bytes ");
});

for (const length of [1, 8, 53, 54, 55, 56, 57, 200]) {
  test(`a body takes a secret of ${length} bytes without changing its length`, async (t) => {
    const splice = new Splice();
    const text = "k".repeat(length);
    const slot = splice.open(secretOf(text), BINDING, HOSTS);
    const { marker, done } = splice.watchBody(slot, length);
    const body = Buffer.from(JSON.stringify({ a: 1, secret: marker, z: "last" }));
    const original = Buffer.from(body);
    const line = await connectLine(t, splice);
    line.socket.write(body);
    const arrived = await line.arrived();
    done();
    assert.equal(arrived.length, original.length);
    assert.deepEqual(JSON.parse(arrived.toString("utf8")), { a: 1, secret: text, z: "last" });
    assert.deepEqual(body, original, "the caller's own Buffer must not receive the secret");
  });
}

test("body bytes are only searched while a body with a marker is on its way", async (t) => {
  const splice = new Splice();
  const slot = splice.open(secretOf("k"), BINDING, HOSTS);
  const { marker, done } = splice.watchBody(slot, 1);
  done();
  done();
  const line = await connectLine(t, splice);
  line.socket.write(Buffer.from(`"${marker}"`));
  assert.equal((await line.arrived()).toString(), `"${marker}"`);
  assert.equal(slot.used, false);
});

test("a corked head and body leave as two writes, so TLS never joins the secret with other bytes", async (t) => {
  const splice = new Splice();
  const key = makeCanary();
  const slot = splice.open(Secret.copyOf(key.bytes), BINDING, HOSTS);
  const line = await connectLine(t, splice);
  line.socket.cork();
  line.socket.write(`POST / HTTP/1.1\r\nx-key: ${slot.marker}\r\ncontent-length: 4\r\n\r\n`, "latin1");
  line.socket.write(Buffer.from("body"));
  assert.equal(line.socket.writableCorked, 1, "the cork is back in place");
  line.socket.uncork();
  const arrived = await line.arrived();
  assert.equal(arrived.toString(), `POST / HTTP/1.1\r\nx-key: ${key.text}\r\ncontent-length: 4\r\n\r\nbody`);
  assert.deepEqual(line.batches, [1, 1]);
});

test("what was corked before the head still leaves before it", async (t) => {
  const splice = new Splice();
  const slot = splice.open(secretOf("S"), BINDING, HOSTS);
  const line = await connectLine(t, splice);
  line.socket.cork();
  line.socket.cork();
  line.socket.write("one ", "latin1");
  line.socket.write(`[${slot.marker}]`, "latin1");
  line.socket.write(" three", "latin1");
  assert.equal(line.socket.writableCorked, 2);
  line.socket.uncork();
  line.socket.uncork();
  assert.equal((await line.arrived()).toString(), "one [S] three");
});

test("G2 no-string: the bytes that held the secret are zero once they are written", async (t) => {
  const splice = new Splice();
  const head = splice.open(secretOf("head-secret"), BINDING, HOSTS);
  const inBody = splice.open(secretOf("body-secret"), BINDING, HOSTS);
  const { marker, done } = splice.watchBody(inBody, 11);
  const line = await connectLine(t, splice);
  line.socket.write(`x: ${head.marker}\r\n`, "latin1");
  line.socket.write(Buffer.from(`{"k":"${marker}"}`));
  const [first, second] = line.written as Buffer[];
  assert.equal(first?.toString(), "x: head-secret\r\n");
  await flushed(line.socket);
  done();
  assert.ok(first?.every((byte) => byte === 0));
  assert.ok(second?.every((byte) => byte === 0));
  const arrived = (await line.arrived()).toString();
  assert.ok(arrived.startsWith('x: head-secret\r\n{"k":"body-secret"'), "zeroed only after the bytes had left");
});

test("they are zeroed too when the socket dies before or during the write", async (t) => {
  const splice = new Splice();
  const [before, late] = [1, 2].map(() => splice.open(secretOf("secret".repeat(200)), BINDING, HOSTS));
  const line = await connectLine(t, splice);
  line.socket.write(`x: ${before?.marker}\r\n`, "latin1");
  line.socket.destroy();
  line.socket.write(`x: ${late?.marker}\r\n`, "latin1");
  await once(line.socket, "close");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(line.written.length, 2);
  for (const bytes of line.written as Buffer[]) assert.ok(bytes.every((byte) => byte === 0));
});

test("G1 right-origin: the splice refuses every socket but the one the slot is bound to", async (t) => {
  const refusals: [string, Partial<SocketBinding>, ReadonlySet<string>, RegExp][] = [
    ["another host", { authority: "evil.test:443" }, HOSTS, /another host/],
    ["another port", { authority: `${HOST}:8443` }, HOSTS, /another host/],
    ["a host the credential is not bound to", {}, new Set(["other.p.test:443"]), /another host/],
    ["another route", { route: "q" }, HOSTS, /another route or client/],
    ["another client", { client: "batch" }, HOSTS, /another route or client/],
  ];
  for (const [what, difference, hosts, reason] of refusals) {
    const splice = new Splice();
    const line = await connectLine(t, splice, { ...BINDING, ...difference });
    const slot = splice.open(secretOf("never-sent"), BINDING, hosts);
    assert.throws(
      () => line.socket.write(`x: ${slot.marker}\r\n`, "latin1"),
      (error) => error instanceof SpliceRefused && reason.test(error.message) && !error.message.includes("never-sent"),
      what,
    );
    const { marker, done } = splice.watchBody(slot, 10);
    assert.throws(() => line.socket.write(Buffer.from(`"${marker}"`)), SpliceRefused, what);
    done();
    assert.equal(slot.used, false, what);
    assert.equal((await line.arrived()).length, 0, what);
  }
});

test("G1 right-origin: an encrypted peer that nobody verified gets no secret", async (t) => {
  const splice = new Splice();
  const line = await connectLine(t, splice, BINDING, makeAuthority("another authority").caPem);
  assert.equal(line.socket.authorized, false);
  const slot = splice.open(secretOf("never-sent"), BINDING, HOSTS);
  assert.throws(() => line.socket.write(slot.marker, "latin1"), /the peer is not verified/);
  assert.equal((await line.arrived()).length, 0);
});

test("a slot serves one write: not a second, not twice in the same head, and none after its release", async (t) => {
  const splice = new Splice();
  const line = await connectLine(t, splice);
  const once = splice.open(secretOf("once"), BINDING, HOSTS);
  line.socket.write(once.marker, "latin1");
  assert.throws(() => line.socket.write(once.marker, "latin1"), /has been used/);
  const doubled = splice.open(secretOf("doubled"), BINDING, HOSTS);
  assert.throws(() => line.socket.write(`${doubled.marker} ${doubled.marker}`, "latin1"), SpliceRefused);
  const gone = splice.open(secretOf("gone"), BINDING, HOSTS);
  gone.release();
  assert.throws(() => line.socket.write(gone.marker, "latin1"), /no open slot/);
  assert.equal((await line.arrived()).toString(), "once");
});

test("a marker that outlived its exchange never gets the secret of a later one", async (t) => {
  const splice = new Splice();
  const line = await connectLine(t, splice);
  const earlier = splice.open(secretOf("earlier"), BINDING, HOSTS);
  earlier.release();
  const later = splice.open(secretOf("later"), BINDING, HOSTS);
  assert.throws(() => line.socket.write(earlier.marker, "latin1"), SpliceRefused);
  earlier.release();
  assert.equal(splice.openSlots, 1, "releasing again must not close somebody else's slot");
  line.socket.write(later.marker, "latin1");
  assert.equal((await line.arrived()).toString(), "later");
});

test("a secret that was wiped meanwhile is refused, and its neighbours in the head stay unsent", async (t) => {
  const splice = new Splice();
  const line = await connectLine(t, splice);
  const whole = splice.open(secretOf("whole"), BINDING, HOSTS);
  const wiped = secretOf("wiped");
  const slot = splice.open(wiped, BINDING, HOSTS);
  wiped.wipe();
  assert.throws(() => line.socket.write(`${whole.marker} ${slot.marker}`, "latin1"), SpliceRefused);
  assert.deepEqual([whole.used, slot.used, line.written.length], [false, false, 0]);
});

test("markers of one process mean nothing to another, and openSlots follows open and release", () => {
  const [one, other] = [new Splice(), new Splice()];
  const slots = Array.from({ length: 100 }, () => one.open(secretOf("k"), BINDING, HOSTS));
  assert.equal(one.openSlots, 100);
  assert.equal(new Set(slots.map((slot) => slot.marker)).size, 100);
  assert.equal(new Set(slots.map((slot) => slot.marker.length)).size, 1);
  for (const slot of slots) slot.release();
  for (const slot of slots) slot.release();
  assert.equal(one.openSlots, 0);
  const foreign = other.open(secretOf("k"), BINDING, HOSTS).marker;
  assert.notEqual(foreign.slice(0, 20), slots[0]?.marker.slice(0, 20));
});

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { type Connection, Connections, carriedBy, connectionOf } from "../../../src/daemon/ingress/connections.ts";
import { END_STREAM, FRAME, headersFrame, openingFrames, readFrame } from "../../e2e/h2-frames.ts";
import { connectRaw, type RawConnection } from "../../support/raw-client.ts";
import { pause } from "../../support/running-sidekey.ts";
import { type RunningIngress, startIngress } from "./running-ingress.ts";

interface Port {
  readonly connections: Connections;
  readonly refusals: string[];
  nowMs: number;
  /** A connection from this address. */
  from(address?: string): Socket;
  /** Which of these are still open. */
  open(sockets: readonly Socket[]): number[];
  /** As `from`, for one that has to be let in. */
  letIn(address?: string): Connection;
}

function port(max: number, maxPerAddress = max): Port {
  const refusals: string[] = [];
  const state = { nowMs: 1_000_000 };
  const connections = new Connections({
    max,
    maxPerAddress,
    now: () => state.nowMs,
    refused: (reason) => refusals.push(reason),
  });
  const from = (address = "127.0.0.1"): Socket => {
    const socket = Object.assign(new EventEmitter(), {
      remoteAddress: address,
      destroyed: false,
      bytesRead: 0,
      destroy() {
        this.destroyed = true;
        socket.emit("close");
      },
    }) as unknown as Socket;
    connections.accept(socket);
    return socket;
  };
  return Object.assign(state, {
    connections,
    refusals,
    from,
    open: (sockets: readonly Socket[]) => sockets.flatMap((socket, n) => (socket.destroyed ? [] : [n])),
    letIn: (address?: string) => connectionOf(from(address)) ?? assert.fail("it was refused"),
  });
}

test("when all places are taken by idle connections, a new one takes the place of the longest idle", () => {
  const p = port(3);
  const old = Array.from({ length: 3 }, () => {
    p.nowMs += 1_000;
    return p.from();
  });
  const late = p.from();
  assert.deepEqual(p.open([...old, late]), [1, 2, 3]);
  assert.deepEqual(p.refusals, ["connection_evicted"]);
  assert.equal(p.connections.size, 3);
});

test("one that never carried a request goes before one that did, however long that has been idle", () => {
  const p = port(2);
  const used = p.letIn();
  p.connections.began(used);
  p.connections.ended(used);
  p.nowMs += 60_000;
  const fresh = p.from();
  const late = p.from();
  assert.deepEqual(p.open([used.socket, fresh, late]), [0, 2]);
});

test("a connection with an exchange in flight is never given up; with nothing idle a new one is refused", () => {
  const p = port(2);
  const busy = [p.letIn(), p.letIn()];
  for (const each of busy) p.connections.began(each);
  p.nowMs += 1_000_000;
  assert.equal(p.from().destroyed, true);
  assert.deepEqual(p.refusals, ["connection_limit"]);
  assert.deepEqual(p.open(busy.map(({ socket }) => socket)), [0, 1]);
  p.connections.ended(busy[0] ?? null);
  assert.equal(p.from().destroyed, true, "its client may be about to send the next request");
  p.nowMs += 100;
  assert.equal(p.from().destroyed, false);
});

test("an address of another machine has its own bound; this machine's clients all have the same one, so it has none", () => {
  const p = port(100, 2);
  const remote = [p.letIn("10.0.0.7"), p.letIn("10.0.0.7")];
  for (const each of remote) p.connections.began(each);
  assert.equal(p.from("10.0.0.7").destroyed, true);
  assert.equal(p.from("10.0.0.8").destroyed, false);
  const local = ["127.0.0.1", "::1", "::ffff:127.0.0.1"].flatMap((each) => [1, 2, 3].map(() => p.from(each)));
  assert.ok(local.every(({ destroyed }) => !destroyed));
  remote[0]?.socket.destroy();
  assert.equal(p.from("10.0.0.7").destroyed, false, "a place that is free again is given again");
  assert.deepEqual(p.refusals, ["connection_limit"]);
});

test("an address at its bound gives up its own idle connections, never another's", () => {
  const p = port(100, 2);
  const other = p.from("10.0.0.8");
  const mine = [p.from("10.0.0.7"), p.from("10.0.0.7"), p.from("10.0.0.7")];
  assert.deepEqual(p.open([other, ...mine]), [0, 2, 3]);
});

test("idle connections end after five minutes, whatever else they send; busy ones do not", () => {
  const p = port(10);
  const [idle, busy] = [p.letIn(), p.letIn()];
  p.connections.began(busy);
  p.nowMs += 299_000;
  p.connections.look();
  assert.equal(idle.socket.destroyed, false);
  p.nowMs += 2_000;
  p.connections.look();
  assert.deepEqual([idle.socket.destroyed, busy.socket.destroyed], [true, false]);
  assert.equal(p.connections.size, 1);
});

test("a connection that sends much without a request in it is closed; one with a request may", () => {
  const p = port(10);
  const [noisy, quiet, busy] = [p.letIn(), p.letIn(), p.letIn()];
  p.connections.began(busy);
  const send = (connection: Connection, bytes: number): void => {
    Object.assign(connection.socket, { bytesRead: connection.socket.bytesRead + bytes });
  };
  for (let second = 0; second < 5; second++) {
    p.nowMs += 1_000;
    for (const [each, bytes] of [
      [noisy, 70_000],
      [quiet, 60_000],
      [busy, 1e9],
    ] as const)
      send(each, bytes);
    p.connections.look();
  }
  assert.deepEqual(p.open([noisy, quiet, busy].map(({ socket }) => socket)), [1, 2]);
  assert.deepEqual(p.refusals, ["connection_noise"]);
  send(busy, 1e9);
  p.connections.ended(busy);
  p.connections.look();
  assert.equal(busy.socket.destroyed, false, "its bytes were those of the exchange that has just ended");
});

for (const form of ["absolute", "connect-h1", "connect-h2"] as const) {
  test(`${form}: a connection whose answer is complete makes room; one that is being answered does not`, async (t) => {
    let hold = false;
    const run = await startIngress(
      t,
      ({ downstream }, parsed) => {
        parsed();
        downstream.sendHead(200, "", ["Content-Length", "2"], true);
        downstream.write(Buffer.from("o"));
        if (hold) return;
        downstream.write(Buffer.from("k"));
        downstream.end([]);
      },
      { maxConnections: 2 },
    );
    const first = await answered(t, run, form);
    while (run.ingress.unfinished > 0) await pause(1);
    hold = true;
    const second = await answered(t, run, form);
    await pause(100);
    const third = await answered(t, run, form);
    assert.equal(await first.closed(), true, "the idle one made room");
    await pause(100);
    const fourth = await connectRaw(t, { port: run.port });
    assert.equal((await fourth.read()).ended, "close");
    assert.deepEqual(run.refusals, ["connection_evicted", "connection_limit"]);
    assert.deepEqual([await second.closed(), await third.closed(), run.ingress.unfinished], [false, false, 2]);
  });
}

interface Answered {
  closed(): Promise<boolean>;
}

/** A connection whose first request has had the first byte of its answer. */
async function answered(
  t: TestContext,
  run: RunningIngress,
  form: "absolute" | "connect-h1" | "connect-h2",
): Promise<Answered> {
  const raw = form === "absolute" ? await connectRaw(t, { port: run.port }) : await run.connect(t);
  if (form === "connect-h2") {
    const session = await raw.startTls({ ca: run.caPem, servername: "api.p.test", alpn: ["h2"] });
    const fields = { ":method": "GET", ":scheme": "https", ":authority": "api.p.test", ":path": "/" };
    await session.write(Buffer.concat([openingFrames(), headersFrame(1, fields, END_STREAM)]));
    await readFrame(session, ({ type, stream }) => type === FRAME.data && stream === 1);
    return { closed: () => hasClosed(session) };
  }
  const connection = form === "absolute" ? raw : await raw.startTls({ ca: run.caPem, servername: "api.p.test" });
  const target = form === "absolute" ? "http://api.p.test/" : "/";
  await connection.write(`GET ${target} HTTP/1.1\r\nHost: api.p.test\r\n\r\n`);
  await connection.read((bytes) => bytes.includes("\r\n\r\no"));
  return { closed: () => hasClosed(connection) };
}

async function hasClosed(connection: RawConnection): Promise<boolean> {
  return (await connection.read(undefined, 300)).ended !== "timeout";
}

test("what runs over a connection counts for it, and nothing is left when all have closed", () => {
  const p = port(2, 2);
  const outer = p.from("10.0.0.7");
  const inner = new EventEmitter() as unknown as Socket;
  carriedBy(inner, outer);
  assert.equal(connectionOf(inner), connectionOf(outer));
  assert.equal(connectionOf(new EventEmitter() as unknown as Socket), null);
  p.connections.destroyAll();
  assert.equal(p.connections.size, 0);
  for (let n = 0; n < 2; n++) p.connections.began(p.letIn("10.0.0.7"));
  assert.deepEqual(p.refusals, [], "the address has all of its places again");
});

test("in a flood of connections each finds a place for a while, and the bound holds", () => {
  const p = port(640);
  for (let n = 0; n < 6_400; n++) p.from();
  assert.ok(p.connections.size <= 640);
  assert.ok(p.connections.size >= 630);
  assert.equal(p.refusals.filter((reason) => reason === "connection_limit").length, 0);
});

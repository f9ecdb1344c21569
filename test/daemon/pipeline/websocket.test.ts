import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { ExchangeState } from "../../../src/daemon/pipeline/exchange-state.ts";
import { relayWebSocket } from "../../../src/daemon/pipeline/websocket.ts";
import { incomingTo, RecordingDownstream } from "./recording-downstream.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
/** RFC 6455 section 1.3 gives this answer to this key. */
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/** Two ends of a real connection. */
async function socketPair(t: TestContext): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  const [far] = (await once(server, "connection")) as [Socket];
  server.close();
  for (const socket of [near, far]) {
    socket.on("error", () => {});
    t.after(() => socket.destroy());
  }
  return [near, far];
}

class SwitchingDownstream extends RecordingDownstream {
  readonly #socket: Socket;
  fields: readonly string[] = [];

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
  }

  override switchProtocols(fields: readonly string[] = []): Socket {
    this.fields = fields;
    return this.#socket;
  }
}

function buffers(...fields: string[]): Buffer[] {
  return fields.map((text) => Buffer.from(text, "latin1"));
}

const ACCEPTED = buffers("Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Accept", ACCEPT);

async function relayed(t: TestContext, idleMs = 10_000, early = "") {
  const [client, clientSide] = await socketPair(t);
  const [provider, providerSide] = await socketPair(t);
  const down = new SwitchingDownstream(clientSide);
  const x = new ExchangeState(incomingTo(down, { upgradeHead: Buffer.from(early) }), 0);
  const fields = [...ACCEPTED, ...buffers("Sec-WebSocket-Protocol", "v1", "Set-Cookie", "a=1", "Alt-Svc", "h3")];
  const finished = relayWebSocket({ socket: providerSide, fields }, KEY, x, { idleMs, scrub: null });
  return { client, provider, down, x, finished };
}

test("an accepted handshake joins both sides, byte for byte, and counts both ways", async (t) => {
  const { client, provider, down, x, finished } = await relayed(t, 10_000, "early");
  assert.deepEqual(down.fields, [
    ...["Connection", "Upgrade", "Upgrade", "websocket"],
    ...["Sec-WebSocket-Accept", ACCEPT, "Sec-WebSocket-Protocol", "v1"],
  ]);
  const [first] = (await once(provider, "data")) as [Buffer];
  assert.equal(first.toString(), "early");
  client.write("up");
  provider.write("down!");
  const [[up], [answer]] = (await Promise.all([once(provider, "data"), once(client, "data")])) as [[Buffer], [Buffer]];
  assert.deepEqual([up.toString(), answer.toString()], ["up", "down!"]);
  client.end();
  provider.end();
  await finished;
  assert.deepEqual([x.transfer.status, x.transfer.bytesUp, x.transfer.bytesDown], [101, 2, 5]);
});

test("whichever side goes, the other one goes too and the exchange ends", async (t) => {
  for (const leaver of ["client", "provider"] as const) {
    for (const how of ["end", "destroy", "resetAndDestroy"] as const) {
      const pair = await relayed(t);
      const [leaves, stays] = leaver === "client" ? [pair.client, pair.provider] : [pair.provider, pair.client];
      stays.resume();
      stays.once("end", () => stays.end());
      leaves.resume();
      leaves[how]();
      await pair.finished;
    }
  }
});

test("a connection on which nothing moves is closed", async (t) => {
  const { client, provider, finished } = await relayed(t, 150);
  client.resume();
  provider.resume();
  await finished;
});

test("H1: a provider that did not prove the handshake gets nothing more, and the client no raw connection", async (t) => {
  const wrong = [
    [],
    buffers("Sec-WebSocket-Accept", "x"),
    buffers("Sec-WebSocket-Accept", ACCEPT.toLowerCase()),
    buffers("Sec-WebSocket-Accept", `${ACCEPT}, ${ACCEPT}`),
  ];
  for (const fields of wrong) {
    const [provider, providerSide] = await socketPair(t);
    const down = new RecordingDownstream();
    const x = new ExchangeState(incomingTo(down, { upgradeHead: Buffer.from("early") }), 0);
    await assert.rejects(relayWebSocket({ socket: providerSide, fields }, KEY, x, { idleMs: 1_000, scrub: null }), {
      code: "upstream_protocol",
    });
    provider.resume();
    const [hadError] = (await once(provider, "end").then(() => [false])) as [boolean];
    assert.deepEqual([hadError, provider.bytesRead, down.calls], [false, 0, []]);
  }
});

test("when the client has gone before the switch, the provider's connection is closed", async (t) => {
  const [provider, providerSide] = await socketPair(t);
  const x = new ExchangeState(incomingTo(new RecordingDownstream()), 0);
  await assert.rejects(
    relayWebSocket({ socket: providerSide, fields: ACCEPTED }, KEY, x, { idleMs: 1_000, scrub: null }),
    {
      code: "client_closed",
    },
  );
  provider.resume();
  await once(provider, "end");
});

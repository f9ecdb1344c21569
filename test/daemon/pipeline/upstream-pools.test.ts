import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { type Dispatcher, Pool } from "undici";
import { type Upstream, UpstreamPools } from "../../../src/daemon/pipeline/upstream-pools.ts";

interface Silent {
  readonly origin: string;
  readonly sockets: Socket[];
  /** Resolves once a request has come on as many connections. */
  came(count: number): Promise<void>;
}

/** A server that answers nothing by itself. */
async function silentServer(t: TestContext): Promise<Silent> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      sockets.push(socket);
      server.emit("came");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  return {
    origin: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    sockets,
    came: async (count) => {
      while (sockets.length < count) await once(server, "came");
    },
  };
}

interface Sent {
  readonly ended: Promise<string>;
  controller: Dispatcher.DispatchController | null;
}

/** Sends one request; `ended` tells how it ended. */
function send(upstream: Upstream): Sent {
  const sent: { controller: Dispatcher.DispatchController | null } = { controller: null };
  const ended = new Promise<string>((resolve) => {
    upstream.dispatch(
      { origin: "", path: "/", method: "GET" },
      {
        onRequestStart(controller) {
          sent.controller = controller;
        },
        onResponseStart() {},
        onResponseData() {},
        onResponseEnd: () => resolve("answered"),
        onResponseError: (_controller, error) => resolve((error as NodeJS.ErrnoException).code ?? error.message),
      },
    );
  });
  return Object.assign(sent, { ended });
}

const ANSWER = "HTTP/1.1 204 No Content\r\n\r\n";

test("a pool takes as many requests as its sockets and three more for each; one that ends makes room", async (t) => {
  const server = await silentServer(t);
  const pools = new UpstreamPools({ socketsPerPool: 2 });
  t.after(() => pools.close());
  const make = () => new Pool(server.origin, { connections: 2, pipelining: 1 });
  const sent = Array.from({ length: 8 }, () => send(pools.get("a", make)));
  assert.throws(() => pools.get("a", make), {
    code: "overloaded",
    reason: "upstream_queue",
    fields: ["Retry-After", "1"],
  });
  await server.came(2);
  server.sockets[0]?.write(ANSWER);
  assert.equal(await sent[0]?.ended, "answered");
  const ninth = send(pools.get("a", make));
  assert.throws(() => pools.get("a", make), { reason: "upstream_queue" });
  pools.get("b", make);
  await pools.close();
  assert.equal(await ninth.ended, "UND_ERR_DESTROYED");
});

test("a request whose client has gone fills its place until the library has let go of it", async (t) => {
  const server = await silentServer(t);
  const pools = new UpstreamPools({ socketsPerPool: 1 });
  t.after(() => pools.close());
  const make = () => new Pool(server.origin, { connections: 1, pipelining: 1 });
  const sent = Array.from({ length: 4 }, () => send(pools.get("a", make)));
  assert.throws(() => pools.get("a", make), { reason: "upstream_queue" });
  await server.came(1);
  const [first] = sent;
  first?.controller?.abort(new Error("gone"));
  assert.equal(await first?.ended, "gone");
  pools.get("a", make);
});

test("a pool is forgotten once neither a request nor a socket is left, also when no connection came about", async (t) => {
  const server = await silentServer(t);
  const pools = new UpstreamPools({ socketsPerPool: 1 });
  t.after(() => pools.close());
  const sent = send(pools.get("live", () => new Pool(server.origin, { connections: 1 })));
  await server.came(1);
  server.sockets[0]?.write(ANSWER);
  await sent.ended;
  assert.equal(pools.size, 1, "its socket is kept for the next request");
  server.sockets[0]?.destroy();
  while (pools.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const refused = send(
    pools.get(
      "dead",
      () => new Pool("http://127.0.0.1:1", { connect: (_options, done) => done(new Error("no"), null) }),
    ),
  );
  assert.equal(await refused.ended, "no");
  while (pools.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});

test("at the bound of pools one without a request makes room; when all have one, no other begins", async (t) => {
  const server = await silentServer(t);
  const pools = new UpstreamPools({ socketsPerPool: 1, maxPools: 2 });
  t.after(() => pools.close());
  const make = () => new Pool(server.origin, { connections: 1 });
  const idle = send(pools.get("idle", make));
  await server.came(1);
  server.sockets[0]?.write(ANSWER);
  await idle.ended;
  send(pools.get("busy", make));
  send(pools.get("new", make));
  assert.equal(pools.size, 2);
  await once(server.sockets[0] as Socket, "close");
  assert.throws(() => pools.get("another", make), { code: "overloaded", reason: "upstream_pools" });
  send(pools.get("busy", make));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { TunnelRequest } from "../../../src/daemon/pipeline/tunnel.ts";
import { connectRaw, sendRaw } from "../../support/raw-client.ts";
import { startIngress } from "./running-ingress.ts";

function connectBytes(target: string, more = ""): string {
  return `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${more}\r\n`;
}

/** An ingress whose tunnels are handed to the test. */
async function withTunnels(t: Parameters<typeof startIngress>[0]) {
  const tunnels: TunnelRequest[] = [];
  const run = await startIngress(t, undefined, {
    runTunnel: async (tunnel) => {
      tunnels.push(tunnel);
    },
  });
  return { run, tunnels };
}

test("a host that a route names is answered at once and becomes no exchange of its own", async (t) => {
  const { run, tunnels } = await withTunnels(t);
  const connection = await connectRaw(t, { port: run.port });
  await connection.write(connectBytes("api.p.test:443"));
  const reply = await connection.read((bytes) => bytes.includes("\r\n\r\n"));
  assert.equal(reply.text, "HTTP/1.1 200 Connection Established\r\n\r\n");
  assert.deepEqual([tunnels.length, run.seen.length], [0, 0]);
});

test("another host, another port of it, and anything malformed is an exchange that parses and answers", async (t) => {
  const { run, tunnels } = await withTunnels(t);
  const targets = ["other.test:443", "api.p.test:9443", "api.p.test", "user@api.p.test:443", "127.0.0.1:443"];
  for (const target of targets) await (await connectRaw(t, { port: run.port })).write(connectBytes(target));
  const body = "Content-Length: 5\r\n";
  await (await connectRaw(t, { port: run.port })).write(connectBytes("api.p.test:443", body));
  while (tunnels.length < targets.length + 1) await pause(5);
  const readings = tunnels.map(({ incoming }) => {
    try {
      const { target } = incoming.parse(run.policy);
      return `${target.form} ${target.host}:${target.port}`;
    } catch (error) {
      return error instanceof ProxyError ? `${error.code} ${error.reason}` : String(error);
    }
  });
  assert.deepEqual(readings.sort(), [
    "bad_request framing",
    "bad_request target",
    "bad_request target",
    "tunnel 127.0.0.1:443",
    "tunnel api.p.test:9443",
    "tunnel other.test:443",
  ]);
});

test("bytes behind a refused CONNECT are never read as a request", async (t) => {
  const run = await startIngress(t, (incoming) => {
    incoming.downstream.sendHead(403, "", ["Content-Length", "2"], true);
    incoming.downstream.write(Buffer.from("no"));
    incoming.downstream.end([]);
  });
  const smuggled = "GET http://api.p.test/ HTTP/1.1\r\nHost: api.p.test\r\n\r\n";
  const reply = await sendRaw(t, { port: run.port, bytes: connectBytes("other.test:443") + smuggled });
  assert.equal(reply.ended, "close");
  assert.equal(reply.text.match(/HTTP\/1\.1/g)?.length, 1);
  assert.match(reply.text, /^HTTP\/1\.1 403 Forbidden\r\n.*connection: close\r\n\r\nno$/is);
  assert.equal(run.seen.length, 1);
});

test("an accepted tunnel gives the client's socket with what came behind the CONNECT", async (t) => {
  const { run, tunnels } = await withTunnels(t);
  const connection = await connectRaw(t, { port: run.port });
  await connection.write(`${connectBytes("other.test:443")}early`);
  while (tunnels.length === 0) await pause(5);
  const socket = tunnels[0]?.accept();
  assert.ok(socket);
  const heard = new Promise<string>((resolve) => socket.once("data", (chunk: Buffer) => resolve(chunk.toString())));
  assert.equal(await heard, "early");
  socket.write("raw");
  const reply = await connection.read((bytes) => bytes.includes("raw"));
  assert.equal(reply.text, "HTTP/1.1 200 Connection Established\r\n\r\nraw");
});

test("a tunnel carries TLS for its own host, or nothing", async (t) => {
  const { run, tunnels } = await withTunnels(t);
  const first = async (send: (target: Awaited<ReturnType<typeof connectRaw>>) => unknown): Promise<string> => {
    const connection = await connectRaw(t, { port: run.port });
    await connection.write(connectBytes("other.test:443"));
    while (tunnels.length === 0) await pause(5);
    const tunnel = tunnels.shift();
    const socket = tunnel?.accept();
    assert.ok(tunnel && socket);
    await connection.read((bytes) => bytes.includes("\r\n\r\n"));
    const bytes = tunnel.firstBytes(socket, "other.test").then(
      (hello) => `hello ${hello[0]} ${hello.length > 100}`,
      (error) => `${error.code} ${error.reason}`,
    );
    await send(connection);
    return bytes;
  };
  const startTls = (servername: string) => (connection: Awaited<ReturnType<typeof connectRaw>>) =>
    void connection.startTls({ ca: run.caPem, servername }).catch(() => {});
  assert.equal(await first(startTls("other.test")), "hello 22 true");
  assert.equal(await first(startTls("evil.test")), "authority_mismatch tunnel_sni");
  assert.equal(await first((connection) => connection.write("SSH-2.0-x\r\n")), "authority_mismatch tunnel_sni");
  assert.equal(await first((connection) => connection.close()), "authority_mismatch tunnel_sni");
});

test("a CONNECT or upgrade pipelined behind an unanswered request ends that connection, and nothing else", async (t) => {
  const gone: string[] = [];
  const run = await startIngress(t, async (incoming, parsed) => {
    const { target } = parsed();
    incoming.downstream.onClose(() => gone.push(target.path));
    if (target.path === "/slow") await pause(50);
    incoming.downstream.sendHead(204, "", [], true);
    incoming.downstream.end([]);
  });
  const slow = "GET http://api.p.test/slow HTTP/1.1\r\nHost: api.p.test\r\n\r\n";
  const upgrade =
    "GET http://api.p.test/ws HTTP/1.1\r\nHost: api.p.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  for (const second of [connectBytes("api.p.test:443"), connectBytes("other.test:443"), upgrade]) {
    const reply = await sendRaw(t, { port: run.port, bytes: slow + second });
    assert.deepEqual([reply.text, reply.ended], ["", "close"], second);
  }
  assert.deepEqual(run.refusals, ["pipelined", "pipelined", "pipelined"]);
  assert.deepEqual(gone, ["/slow", "/slow", "/slow"]);
  const after = await sendRaw(t, { port: run.port, bytes: slow, until: (bytes) => bytes.includes("204") });
  assert.match(after.text, /^HTTP\/1\.1 204/);
});

test("a client that resets right after its CONNECT disturbs nobody", async (t) => {
  const run = await startIngress(t);
  for (const target of ["api.p.test:443", "other.test:443"]) {
    const connection = await connectRaw(t, { port: run.port });
    await connection.write(connectBytes(target));
    const { socket } = connection;
    if ("resetAndDestroy" in socket && typeof socket.resetAndDestroy === "function") socket.resetAndDestroy();
  }
  await pause(20);
  const bytes = "GET http://api.p.test/ HTTP/1.1\r\nHost: api.p.test\r\nConnection: close\r\n\r\n";
  assert.match((await sendRaw(t, { port: run.port, bytes })).text, /^HTTP\/1\.1 200/);
});

test("while draining, a CONNECT to a policy host is refused by its exchange", async (t) => {
  const tunnels: TunnelRequest[] = [];
  const run = await startIngress(t, undefined, {
    draining: () => true,
    runTunnel: async (tunnel) => {
      tunnels.push(tunnel);
    },
  });
  await (await connectRaw(t, { port: run.port })).write(connectBytes("api.p.test:443"));
  while (tunnels.length === 0) await pause(5);
  assert.equal(tunnels.length, 1);
});

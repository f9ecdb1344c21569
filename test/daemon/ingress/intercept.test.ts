import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import * as tls from "node:tls";
import { ask, startIngress, startSession } from "./running-ingress.ts";

const GET = "GET /x HTTP/1.1\r\nHost: api.p.test\r\n\r\n";

test("inside a CONNECT the client speaks TLS to a certificate of the CONNECT's host, HTTP/1.1 or HTTP/2", async (t) => {
  const run = await startIngress(t);
  for (const alpn of [undefined, ["http/1.1"], ["http/1.1", "h2"]]) {
    const tunnel = await run.connect(t);
    const tls = { ca: run.caPem, servername: "api.p.test", ...(alpn ? { alpn } : {}) };
    const connection = await tunnel.startTls(tls);
    if (alpn?.includes("h2")) continue;
    await connection.write(GET);
    const reply = await connection.read((bytes) => bytes.includes("/x"));
    assert.match(reply.text, /^HTTP\/1\.1 200 OK\r\n.*connect api\.p\.test:443 \/x$/s);
  }
  const answer = await ask(await startSession(t, run), { ":path": "/y" });
  assert.equal(answer.body, "connect api.p.test:443 /y");
});

test("each inner request carries what the CONNECT showed, and where it came from", async (t) => {
  const run = await startIngress(t);
  const send = async (fields: string): Promise<string | null | undefined> => {
    const tunnel = await run.connect(t, "api.p.test:443", fields);
    const connection = await tunnel.startTls({ ca: run.caPem, servername: "api.p.test" });
    await connection.write(GET + GET);
    await connection.read((bytes) => bytes.toString().split("/x").length === 3);
    const incoming = run.seen.at(-1);
    assert.equal(incoming?.remoteAddress, "127.0.0.1");
    assert.equal(incoming?.form, "connect");
    return incoming?.connectAuthorization;
  };
  assert.equal(await send(""), null);
  assert.equal(await send("Proxy-Authorization: Bearer one\r\n"), "Bearer one");
  assert.equal(await send("Proxy-Authorization: Bearer one\r\nproxy-authorization: Bearer one\r\n"), "");
  assert.equal(run.seen.length, 6);
});

test("G1 right-origin: CONNECT, server name and Host must agree on every request; only the diagonal passes", async (t) => {
  const names = ["api.p.test", "data.p.test", "evil.test"];
  const run = await startIngress(t, (incoming, parsed) => {
    const text = Buffer.from(readingOf(parsed));
    incoming.downstream.sendHead(200, "", ["Content-Length", String(text.length)], true);
    incoming.downstream.write(text);
    incoming.downstream.end([]);
  });
  const passed: string[] = [];
  for (const connect of names.slice(0, 2)) {
    for (const servername of names) {
      for (const host of names) {
        const tunnel = await run.connect(t, `${connect}:443`);
        const connection = await tunnel.startTls({ ca: run.caPem, servername }).catch(() => null);
        if (!connection) continue;
        await connection.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
        const reply = await connection.read((bytes) => /\r\n\r\n.+/s.test(bytes.toString()));
        if (reply.text.endsWith("allowed")) passed.push(`${connect} ${servername} ${host}`);
        else assert.match(reply.text, /authority_mismatch$/);
        connection.close();
      }
    }
  }
  assert.deepEqual(passed, ["api.p.test api.p.test api.p.test", "data.p.test data.p.test data.p.test"]);
});

function readingOf(parsed: () => unknown): string {
  try {
    parsed();
    return "allowed";
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("Host is checked on every request of a connection, not on the first alone", async (t) => {
  const run = await startIngress(t, (incoming, parsed) => {
    const status = readingOf(parsed) === "allowed" ? 200 : 421;
    incoming.downstream.sendHead(status, "", ["Content-Length", "0"], true);
    incoming.downstream.end([]);
  });
  const tunnel = await run.connect(t);
  const connection = await tunnel.startTls({ ca: run.caPem, servername: "api.p.test" });
  const hosts = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? "api.p.test" : "evil.test"));
  await connection.write(hosts.map((host) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
  const reply = await connection.read((bytes) => bytes.toString().split("HTTP/1.1 ").length > hosts.length);
  const statuses = [...reply.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
  assert.deepEqual(
    statuses,
    hosts.map((host) => (host === "api.p.test" ? "200" : "421")),
  );
});

test("what never becomes TLS for the host is closed, counted once, and mints nothing", async (t) => {
  const asked: string[] = [];
  const run = await startIngress(t, undefined, {
    leafFor: (host) => {
      asked.push(host);
      return null;
    },
  });
  const failures: ((tunnel: Awaited<ReturnType<typeof run.connect>>) => Promise<unknown>)[] = [
    (tunnel) => tunnel.startTls({ ca: run.caPem, servername: "evil.test" }).catch(() => {}),
    (tunnel) => tunnel.startTls({ ca: run.caPem, servername: "" }).catch(() => {}),
    (tunnel) => tunnel.startTls({ ca: run.caPem, servername: "api.p.test.evil.test" }).catch(() => {}),
    (tunnel) =>
      tunnel.startTls({ ca: run.caPem, servername: `${"a".repeat(60)}.`.repeat(4).slice(0, -1) }).catch(() => {}),
    (tunnel) => tunnel.write("GET / HTTP/1.1\r\nHost: api.p.test\r\n\r\n"),
    (tunnel) => tunnel.write(Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 0])),
  ];
  for (const [index, fail] of failures.entries()) {
    const tunnel = await run.connect(t);
    await fail(tunnel);
    while (run.refusals.length <= index) await pause(5);
  }
  assert.deepEqual(
    run.refusals,
    failures.map(() => "tls_handshake"),
  );
  assert.deepEqual([asked, run.seen.length], [[], 0]);
  while (run.ingress.connections > 0) await pause(5);
});

test("a leaf that cannot be had, or a source that throws, ends the connection and not the process", async (t) => {
  const sources = [
    () => null,
    () => Promise.reject(new Error("no leaf")),
    () => {
      throw new Error("broken");
    },
  ];
  for (const leafFor of sources) {
    const run = await startIngress(t, undefined, { leafFor });
    const tunnel = await run.connect(t);
    await assert.rejects(tunnel.startTls({ ca: run.caPem, servername: "api.p.test" }));
    while (run.refusals.length === 0) await pause(5);
  }
});

test("a client that hangs up in the middle of its handshake is counted once", async (t) => {
  const run = await startIngress(t);
  const tunnel = await run.connect(t);
  await tunnel.write(Buffer.from([22, 3, 1, 2, 0, 1]));
  tunnel.close();
  while (run.ingress.connections > 0) await pause(5);
  assert.deepEqual(run.refusals, ["tls_handshake"]);
});

test("sessions are not resumed, by another name least of all", async (t) => {
  const run = await startIngress(t);
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    let session: Buffer | null = null;
    for (const host of ["api.p.test", "api.p.test", "data.p.test"]) {
      const tunnel = await run.connect(t, `${host}:443`);
      const options = { socket: tunnel.socket, ca: run.caPem, servername: host, maxVersion };
      const socket: tls.TLSSocket = tls.connect({ ...options, ...(session ? { session } : {}) });
      socket.on("session", (ticket) => {
        session ??= ticket;
      });
      await once(socket, "secureConnect");
      assert.equal(socket.isSessionReused(), false, `${maxVersion} ${host}`);
      socket.write(`GET /x HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await once(socket, "data");
      socket.destroy();
    }
  }
});

test("a tunnel to port 80 carries plain HTTP for the same host on 443, and only that", async (t) => {
  const run = await startIngress(t);
  const connection = await run.connect(t, "api.p.test:80", "Proxy-Authorization: Bearer one\r\n");
  await connection.write(GET);
  const reply = await connection.read((bytes) => bytes.includes("/x"));
  assert.match(reply.text, /connect api\.p\.test:443 \/x$/);
  assert.equal(run.seen[0]?.connectAuthorization, "Bearer one");
  const other = await run.connect(t, "api.p.test:80");
  await assert.rejects(other.startTls({ ca: run.caPem, servername: "api.p.test" }));
  assert.equal(run.seen.length, 1);
});

test("when the port stops accepting, idle intercepted connections are closed as well", async (t) => {
  const run = await startIngress(t);
  const tunnel = await run.connect(t);
  const connection = await tunnel.startTls({ ca: run.caPem, servername: "api.p.test" });
  await connection.write(GET);
  await connection.read((bytes) => bytes.includes("/x"));
  run.ingress.stopAccepting();
  assert.equal((await connection.read()).ended, "close");
});

test("a client that goes away in the middle of its request is noticed, over HTTP/1.1 and HTTP/2", async (t) => {
  for (const alpn of ["http/1.1", "h2"]) {
    let gone = 0;
    const run = await startIngress(t, (incoming, parsed) => {
      parsed();
      incoming.downstream.onClose(() => gone++);
    });
    if (alpn === "h2") (await startSession(t, run)).request({ ":path": "/" }).on("error", () => {});
    else await (await (await run.connect(t)).startTls({ ca: run.caPem, servername: "api.p.test" })).write(GET);
    while (run.seen.length === 0) await pause(5);
    run.clients.forEach((client) => {
      client.close();
    });
    while (gone === 0) await pause(5);
    await pause(10);
    assert.equal(gone, 1, alpn);
  }
});

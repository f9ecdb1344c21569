import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { queryUsage } from "../../src/store/usage-query.ts";
import { connectRaw } from "../support/raw-client.ts";
import { pause } from "../support/running-sidekey.ts";
import type { StandInHandler } from "../support/stand-in.ts";
import { controlCall } from "./control-call.ts";
import { FORMS, openH2, proxyAuthorization, sendForm, streamH2, tunnelTo } from "./request-form.ts";
import { hostOf, type Scene, startScene } from "./scene.ts";

const HOST = hostOf("header");
const request = { host: HOST, route: "header" };

/** The path says how the provider behaves. */
const provider: StandInHandler = async ({ target }, socket) => {
  const path = target.split("?")[0];
  switch (path) {
    case "/reset":
      socket.resetAndDestroy?.();
      return socket.destroy() && undefined;
    case "/half":
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
      await pause(20);
      return void socket.destroy();
    case "/garbage":
      return "this is not HTTP\r\n\r\n";
    case "/never":
      return;
    case "/stall":
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
      return;
    case "/chatty":
      return "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20);
    default:
      return { body: "ok" };
  }
};

/** Log lines, usage rows and the metric, which all have to say the same. */
async function traces(scene: Scene): Promise<{ log: number; usage: number; metric: number }> {
  const text = await (await fetch(`${scene.sidekey.metricsUrl}/metrics`)).text();
  const counters = [...text.matchAll(/^sidekey_requests_total\{[^}]*\} (\d+)/gm)].map(([, count]) => Number(count));
  const rows = queryUsage(join(scene.sidekey.dataDir, "usage.db"), { by: "day", sinceMs: 0 });
  return {
    log: scene.sidekey.requests().length,
    usage: rows.reduce((sum, row) => sum + row.requests, 0),
    metric: counters.reduce((sum, count) => sum + count, 0),
  };
}

async function provesOne(scene: Scene, expected: number, label: string): Promise<void> {
  const wanted = { log: expected, usage: expected, metric: expected };
  let found = await traces(scene);
  for (let i = 0; i < 100 && found.usage < expected; i++) {
    await pause(20);
    found = await traces(scene);
  }
  assert.deepEqual(found, wanted, label);
  // A late second one would be as wrong as none.
  await pause(60);
  assert.deepEqual(await traces(scene), wanted, `${label}, a little later`);
}

for (const form of FORMS) {
  test(`G12 one-outcome: every way that an exchange can end leaves one log line, one usage row and one count (${form})`, async (t) => {
    const scene = await startScene(t, {
      handler: provider,
      routes: {
        header:
          "timeouts: { connect: 1s, headers: 200ms, idle: 200ms }, limits: [{ name: n, per: [route], requests: 30/h }]",
      },
    });
    let count = 0;
    const reasons: string[] = [];
    for (const ask of [
      {},
      { path: "/reset" },
      { path: "/half" },
      { path: "/garbage" },
      { path: "/never" },
      { path: "/stall" },
      { path: "/chatty" },
      { client: null },
      { method: "TRACE" },
      { path: "/a/../b" },
      { method: "POST", body: "abc" },
      { method: "HEAD" },
      { fields: ["Expect", "something"] },
      { fields: ["Transfer_Encoding", "chunked"] },
      { fields: ["Sidekey-User", "u1"] },
    ]) {
      const reply = await sendForm(t, form, scene.sidekey, { ...request, ...ask, timeoutMs: 1_500 });
      count++;
      reasons.push(`${JSON.stringify(ask)} ${reply.status}`);
      await scene.sidekey.requestsLogged(count);
    }
    await provesOne(scene, count, reasons.join("\n"));
  });
}

test("G12 one-outcome: clients that go away leave one outcome each, wherever they were", async (t) => {
  const scene = await startScene(t, { handler: provider });
  const token = `Proxy-Authorization: ${proxyAuthorization("app", scene.sidekey.tokens.app ?? "")}\r\n`;
  const start = `POST http://${HOST}/never HTTP/1.1\r\nHost: ${HOST}\r\n${token}`;
  let count = 0;
  for (const bytes of [
    `GET http://${HOST}/never HTTP/1.1\r\nHost: ${HOST}\r\n${token}\r\n`,
    `GET http://${HOST}/stall HTTP/1.1\r\nHost: ${HOST}\r\n${token}\r\n`,
    `${start}Content-Length: 100\r\n\r\nhalf`,
    `${start}Transfer-Encoding: chunked\r\n\r\n5\r\nhe`,
    `${start}Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n\r\n`,
    `${start}Content-Length: 1\r\n\r\naGARBAGE\r\n\r\n`,
  ]) {
    const connection = await connectRaw(t, scene.sidekey);
    await connection.write(bytes);
    await connection.read(undefined, 100);
    connection.close();
    count++;
    await scene.sidekey.requestsLogged(count);
    assert.equal(scene.sidekey.requests().length, count, bytes);
  }
  const { session } = await openH2(t, scene.sidekey, request);
  const pseudo = { ":method": "GET", ":scheme": "https", ":authority": HOST };
  for (const path of ["/never", "/stall"]) {
    assert.ok(session);
    await streamH2(session, { ...pseudo, ":path": path }, undefined, 100);
    count++;
  }
  session?.destroy();
  await scene.sidekey.requestsLogged(count);
  await provesOne(scene, count, "after clients went away");
  assert.match(await status(scene), /"inFlight":0/);
});

test("G12 one-outcome: 300 exchanges at once, a third of them cut, leave 300 outcomes", async (t) => {
  const scene = await startScene(t, { handler: provider });
  const cut = async (i: number): Promise<void> => {
    const tunnel = await tunnelTo(t, scene.sidekey, request);
    await tunnel.write(`GET /never HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await pause(30 + (i % 20));
    tunnel.close();
  };
  const jobs = Array.from({ length: 300 }, (_, i) => async () => {
    if (i % 3 === 0) await cut(i);
    else
      await sendForm(t, FORMS[i % FORMS.length] ?? "absolute", scene.sidekey, {
        ...request,
        path: i % 3 === 1 ? "/half" : "/ok",
      });
  });
  for (let i = 0; i < jobs.length; i += 30) await Promise.all(jobs.slice(i, i + 30).map((job) => job()));
  await scene.sidekey.requestsLogged(300);
  await provesOne(scene, 300, "300 at once");
});

test("G12 one-outcome: stopping the daemon in the middle of exchanges loses none", async (t) => {
  const scene = await startScene(t, { handler: provider, config: { drainMs: 200 } });
  const waiting = Array.from({ length: 10 }, () =>
    sendForm(t, "absolute", scene.sidekey, { ...request, path: "/never" }),
  );
  while (!/"inFlight":10/.test(await status(scene))) await pause(10);
  await scene.sidekey.daemon.stop();
  await Promise.all(waiting);
  assert.equal(scene.sidekey.requests().length, 10);
  const rows = queryUsage(join(scene.sidekey.dataDir, "usage.db"), { by: "day", sinceMs: 0 });
  assert.equal(
    rows.reduce((sum, row) => sum + row.requests, 0),
    10,
  );
});

async function status(scene: Scene): Promise<string> {
  return (await controlCall(scene.sidekey.dataDir, "GET", "/status")).text;
}

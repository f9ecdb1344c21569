import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { DEFAULT_LIMITS } from "../../src/daemon/config-limits.ts";
import { startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";
import { daemonCounts, HOST, oneRoute, outcomes, recordsAgree } from "./one-route.ts";
import { startRawProvider } from "./raw-provider.ts";

const TIMEOUT = { timeout: 20_000 };

test(
  "a pool has as many connections as daemon.yaml says; three more requests wait for each, others are refused",
  TIMEOUT,
  async (t) => {
    const provider = await startRawProvider(t, HOST);
    const limits = { ...DEFAULT_LIMITS, socketsPerPool: 2 };
    const sidekey = await oneRoute(t, provider, "", { config: { limits } });
    const asked = Array.from({ length: 8 }, () => formClient(t, "absolute", sidekey).ask());
    while ((await daemonCounts(sidekey)).inFlight !== 8) await new Promise((resolve) => setImmediate(resolve));
    await provider.call(2);
    const refused = await formClient(t, "absolute", sidekey).ask();
    assert.equal(`${refused.status} ${refused.values("sidekey-error")}`, "503 overloaded");
    assert.deepEqual(refused.values("retry-after"), ["1"]);
    assert.equal((JSON.parse(String(refused.body)) as { reason: string }).reason, "upstream_queue");
    assert.equal(provider.connections(), 2);
    const ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    for (let n = 1; n <= 8; n++) (await provider.call(n)).socket.end(ok);
    for (const answer of await Promise.all(asked)) assert.equal(answer.status, 200);
    await recordsAgree(sidekey, 9);
  },
);

const LYING: Readonly<Record<string, readonly [bytes: string, outcome: string]>> = {
  "interim answers without end": ["HTTP/1.1 102 Processing\r\n\r\n".repeat(50), "upstream_protocol"],
  "a head without end": [`HTTP/1.1 200 OK\r\n${"X-More: and more\r\n".repeat(20_000)}`, "upstream_protocol"],
  "one field without end": [`HTTP/1.1 200 OK\r\nX-Long: ${"x".repeat(300_000)}`, "upstream_protocol"],
};

for (const form of FORMS) {
  for (const [what, [bytes, outcome]] of Object.entries(LYING)) {
    test(`${form}: a provider that sends ${what} makes a clean 502 and loses its connection`, TIMEOUT, async (t) => {
      const provider = await startRawProvider(t, HOST, ({ socket }) => void socket.resume().write(bytes));
      const sidekey = await oneRoute(t, provider);
      const answer = await formClient(t, form, sidekey).ask();
      assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, `502 ${outcome}`);
      await (await provider.call(1)).closed;
      assert.deepEqual(await outcomes(sidekey, 1), [outcome]);
    });
  }

  test(
    `${form}: a provider that says nothing, or nothing more, is given up when the route says so`,
    TIMEOUT,
    async (t) => {
      const provider = await startRawProvider(t, HOST, ({ socket, connection }) => {
        socket.resume();
        if (connection === 2) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      });
      const sidekey = await oneRoute(t, provider, "timeouts: { headers: 200ms, idle: 200ms }");
      const silent = await formClient(t, form, sidekey).ask();
      assert.equal(`${silent.status} ${silent.values("sidekey-error")}`, "504 upstream_timeout");
      await (await provider.call(1)).closed;
      const half = await formClient(t, form, sidekey).ask();
      assert.deepEqual([half.status, String(half.body), half.complete], [200, "half", false]);
      await (await provider.call(2)).closed;
      assert.deepEqual(await outcomes(sidekey, 2), ["upstream_timeout", "truncated"]);
    },
  );
}

/** Linux: connections of this machine, each with the kernel's timer that runs for it (2: keep-alive). */
const TCP_TABLE = "/proc/net/tcp";

test("both ends of a quiet stream are asked by TCP whether they are still there", {
  ...TIMEOUT,
  skip: !existsSync(TCP_TABLE) && `no ${TCP_TABLE}`,
}, async (t) => {
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: (_request, socket) => void socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
  });
  const sidekey = await oneRoute(t, standIn);
  const exchange = await formClient(t, "absolute", sidekey).open({});
  exchange.request.end();
  await exchange.answer;
  const timers = (end: "local" | "remote", port: number): string[] => {
    const hex = port.toString(16).toUpperCase().padStart(4, "0");
    return readFileSync(TCP_TABLE, "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local, remote, state]) => state === "01" && (end === "local" ? local : remote)?.endsWith(`:${hex}`))
      .map(([, , , , , timer]) => timer?.slice(0, 2) ?? "");
  };
  assert.deepEqual(timers("local", sidekey.port), ["02"], "the client's connection");
  assert.deepEqual(timers("remote", standIn.port), ["02"], "the provider's");
});

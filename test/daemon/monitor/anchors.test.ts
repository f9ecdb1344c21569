import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { AnchorConfig } from "../../../src/daemon/config-anchor.ts";
import { type AnchorAlerts, startAnchorPublisher, syslogMessage } from "../../../src/daemon/monitor/anchors.ts";
import { Secret } from "../../../src/secret.ts";
import { type StandIn, startStandIn } from "../../support/stand-in.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { newVault, note } from "../../support/vault-fixture.ts";

const NOW = Date.UTC(2026, 0, 1);
const NEVER_MS = 86_400_000;

/** Open alerts, as `object: message`. */
function alertBook(): AnchorAlerts & { open: Map<string, string> } {
  const open = new Map<string, string>();
  return {
    open,
    raise: (kind, object, severity, message) => void open.set(object, `${kind} ${severity} ${message}`),
    clear: (_kind, object) => void open.delete(object),
  };
}

function publisher(t: TestContext, config: Partial<AnchorConfig>, timeoutMs = 5_000) {
  const file = join(tempDir(t), "audit.anchor");
  const put = (line: string): void => {
    writeFileSync(`${file}.new`, `${line}\n`);
    renameSync(`${file}.new`, file);
  };
  put('{"seq":1}');
  const alerts = alertBook();
  const full = { everyMs: NEVER_MS, syslog: null, webhook: null, ...config };
  const anchors = startAnchorPublisher({ file, config: full, alerts, now: () => NOW, timeoutMs });
  t.after(() => anchors.close());
  return { anchors, alerts, put, file };
}

/** A stream server that keeps what it got. */
async function collector(t: TestContext, at: string | number): Promise<{ server: Server; received: string[] }> {
  const received: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.setEncoding("utf8").on("data", (text: string) => received.push(text));
  });
  if (typeof at === "string") server.listen(at);
  else server.listen(at, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return { server, received };
}

function webhook(t: TestContext, answer: () => number): Promise<StandIn> {
  return startStandIn(t, { hostnames: ["localhost"], handler: () => ({ status: answer(), body: "{}" }) });
}

async function until(what: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!what()) {
    assert.ok(performance.now() < deadline, "it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("a moved anchor arrives by UDP, TCP and a Unix socket as one RFC 5424 message each, an unmoved one once only", async (t) => {
  const udp = createSocket("udp4");
  const datagrams: string[] = [];
  udp.on("message", (message) => datagrams.push(message.toString()));
  udp.bind(0, "127.0.0.1");
  await once(udp, "listening");
  t.after(() => udp.close());
  const tcp = await collector(t, 0);
  const path = join(tempDir(t), "log.sock");
  const unix = await collector(t, path);
  const targets = [
    [{ kind: "udp", host: "127.0.0.1", port: udp.address().port }, datagrams],
    [{ kind: "tcp", host: "127.0.0.1", port: (tcp.server.address() as AddressInfo).port }, tcp.received],
    [{ kind: "unix", path }, unix.received],
  ] as const;
  for (const [syslog, received] of targets) {
    const { anchors, put, alerts } = publisher(t, { syslog });
    for (const seq of [1, 1, 2]) {
      put(`{"seq":${seq}}`);
      await anchors.publish();
      await anchors.publish();
    }
    const expected = [1, 2].map((seq) => syslogMessage(`{"seq":${seq}}`, NOW).toString());
    const framed = syslog.kind === "udp" ? expected : expected.map((text) => `${Buffer.byteLength(text)} ${text}`);
    await until(() => received.length >= 2);
    assert.deepEqual([...received], framed);
    assert.match(expected[0] ?? "", /^<109>1 2026-01-01T00:00:00\.000Z \S+ sidekey \d+ anchor - \{"seq":1\}$/);
    assert.equal(alerts.open.size, 0);
  }
});

test("a webhook gets the line over verified TLS, signed, and what it kept can be compared with the vault", async (t) => {
  const receiver = await webhook(t, () => 204);
  const { vault, directory } = await newVault(t);
  const secret = Secret.copyOf(Buffer.from("hook-key"));
  const url = `https://localhost:${receiver.port}/anchors`;
  const { anchors, put } = publisher(t, { webhook: { url, ca: receiver.caPem, secret } });
  await anchors.publish();
  for (const object of ["policy:2", "policy:3"]) {
    note(vault, object);
    put(readFileSync(join(directory, "audit.anchor"), "utf8").trim());
    await anchors.publish();
  }
  assert.equal(receiver.requests.length, 3);
  const last = receiver.requests.at(-1);
  const body = last?.bytes.toString("utf8").split("\r\n\r\n")[1] ?? "";
  assert.deepEqual(last?.values("sidekey-signature"), [
    `sha256=${createHmac("sha256", "hook-key").update(body).digest("hex")}`,
  ]);
  assert.deepEqual(vault.compare("anchor", `${body}\n`), { ok: true, records: 1 });
});

test("a receiver that is gone, refuses, hangs or shows a wrong certificate raises an alert, and the next good try clears it", async (t) => {
  let status = 500;
  const receiver = await webhook(t, () => status);
  const url = `https://localhost:${receiver.port}/`;
  const good = publisher(t, { webhook: { url, ca: receiver.caPem, secret: null } });
  await good.anchors.publish();
  assert.match(
    good.alerts.open.get("anchor:webhook") ?? "",
    /^anchor_not_sent warning .*anchor\.webhook \(answered 500\)/,
  );
  status = 302;
  await good.anchors.publish();
  assert.match(good.alerts.open.get("anchor:webhook") ?? "", /answered 302/);
  status = 200;
  await good.anchors.publish();
  assert.equal(good.alerts.open.size, 0);

  const untrusted = publisher(t, { webhook: { url, ca: null, secret: null } });
  const before = receiver.requests.length;
  await untrusted.anchors.publish();
  assert.match(untrusted.alerts.open.get("anchor:webhook") ?? "", /UNABLE_TO|SELF_SIGNED/);
  assert.equal(receiver.requests.length, before);

  const silent = await startStandIn(t, { hostnames: ["localhost"], handler: () => undefined });
  const hanging = publisher(
    t,
    { webhook: { url: `https://localhost:${silent.port}/`, ca: silent.caPem, secret: null } },
    200,
  );
  await hanging.anchors.publish();
  assert.match(hanging.alerts.open.get("anchor:webhook") ?? "", /no answer in time/);

  const { server } = await collector(t, 0);
  const { port } = server.address() as AddressInfo;
  server.close();
  const gone = publisher(t, { syslog: { kind: "tcp", host: "127.0.0.1", port } });
  await gone.anchors.publish();
  assert.match(gone.alerts.open.get("anchor:syslog") ?? "", /ECONNREFUSED/);
});

test("one dead receiver does not keep the line from the other, and an unreadable anchor is an alert of its own", async (t) => {
  const receiver = await webhook(t, () => 200);
  const { anchors, alerts, file } = publisher(t, {
    syslog: { kind: "unix", path: "/nonexistent/log.sock" },
    webhook: { url: `https://localhost:${receiver.port}/`, ca: receiver.caPem, secret: null },
  });
  await anchors.publish();
  await anchors.publish();
  assert.deepEqual([...alerts.open.keys()], ["anchor:syslog"]);
  assert.equal(receiver.requests.length, 1, "what has arrived is not sent again");
  rmSync(file);
  await anchors.publish();
  assert.ok(alerts.open.has("anchor:file"));
});

test("closing ends a send under way at once and wipes the signing key", async (t) => {
  const silent = await startStandIn(t, { hostnames: ["localhost"], handler: () => undefined });
  const secret = Secret.copyOf(Buffer.from("hook-key"));
  const hook = { url: `https://localhost:${silent.port}/`, ca: silent.caPem, secret };
  const { anchors, alerts } = publisher(t, { webhook: hook }, 60_000);
  const sending = anchors.publish();
  await until(() => silent.requests.length === 1);
  anchors.close();
  await sending;
  assert.equal(alerts.open.size, 0);
  assert.throws(() => secret.use(() => {}));
});

import assert from "node:assert/strict";
import { connect } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { RunningSidekey } from "../support/running-sidekey.ts";
import { freePort } from "../support/served-place.ts";
import { startPlainScene } from "./plain-route.ts";
import { FORMS, sendForm } from "./request-form.ts";

/**
 * A port that nobody has, so that the policy can name the daemon's own port before the daemon has it. Asked for on
 * every interface: a port that is free on 127.0.0.1 may be another test's on 127.0.0.2, and 0.0.0.0 then refuses it.
 */
const ADDRESSES = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::ffff:127.0.0.1", "::", "::ffff:7f00:1"];

/** A daemon whose policy names one of its own listeners as a provider and opens every private range. */
async function aimedAtItself(
  t: TestContext,
  listener: "proxy" | "metrics",
  how: { name?: string; address: string; override?: boolean; host?: string },
): Promise<{ sidekey: RunningSidekey; host: string }> {
  const port = await freePort();
  const metricsPort = await freePort();
  const own = listener === "proxy" ? port : metricsPort;
  const listenHost = how.host ?? "127.0.0.1";
  const name = how.name ?? "own.test";
  const { sidekey, host } = await startPlainScene(t, {
    name,
    port: own,
    route: 'private: [127.0.0.0/8, "::1/128"]',
    resolve: async () => [how.address],
    config: {
      listen: {
        proxy: { host: listenHost, port },
        proxySocket: null,
        admin: null,
        metrics: { host: listenHost, port: metricsPort },
      },
      ...(how.override
        ? { upstream: { hosts: new Map([[name, { address: how.address, port: own, ca: null }]]), proxy: null } }
        : {}),
    },
  });
  return { sidekey, host };
}

for (const listener of ["proxy", "metrics"] as const) {
  for (const override of [false, true]) {
    const by = override ? "by upstream.hosts" : "by its resolver";
    test(`G13 separate-planes: a name that leads to the ${listener} listener ${by} is refused, whatever the route opens`, async (t) => {
      for (const listenHost of ["127.0.0.1", "0.0.0.0"]) {
        for (const address of ADDRESSES) {
          const { sidekey, host } = await aimedAtItself(t, listener, { address, override, host: listenHost });
          const reply = await sendForm(t, "absolute", sidekey, { host, route: "plain", path: "/metrics" });
          assert.equal(reply.code, "upstream_refused_address", `${address} with a listener on ${listenHost}`);
          await sidekey.daemon.stop();
        }
      }
    });
  }
}

test("G13 separate-planes: an own listener by the name of this machine is refused in every form", async (t) => {
  for (const listener of ["proxy", "metrics"] as const) {
    const { sidekey, host } = await aimedAtItself(t, listener, { name: "localhost", address: "127.0.0.1" });
    for (const form of FORMS) {
      if (form.startsWith("connect")) continue;
      const reply = await sendForm(t, form, sidekey, { host, route: "plain", path: "/metrics" });
      assert.equal(reply.code, "upstream_refused_address", `${listener} ${form}`);
      assert.doesNotMatch(reply.seen, /sidekey_requests_total/);
    }
    await sidekey.daemon.stop();
  }
});

test("G13 separate-planes: the proxy port itself serves no metrics, health or control call", async (t) => {
  const { sidekey } = await aimedAtItself(t, "proxy", { address: "127.0.0.1" });
  for (const path of ["/metrics", "/healthz", "/readyz", "/status", "/reload", "/requests", "/", "/admin", "/api"]) {
    for (const method of ["GET", "POST"]) {
      const reply = await sendForm(t, "origin", sidekey, { host: "x", route: "", path: path.slice(1) && path, method });
      assert.ok([400, 403].includes(reply.status), `${method} ${path}: ${reply.status}`);
      assert.doesNotMatch(reply.seen, /sidekey_requests_total|"inFlight"|"ok"/);
    }
  }
});

test("G13 separate-planes: the control socket cannot be named as a target and is for its owner alone", async (t) => {
  const { sidekey } = await aimedAtItself(t, "proxy", { address: "127.0.0.1" });
  const socket = join(sidekey.dataDir, "daemon.sock");
  const { statSync } = await import("node:fs");
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  assert.equal(statSync(sidekey.dataDir).mode & 0o077, 0);
  for (const target of [
    `unix:${socket}`,
    `unix:${socket}:/status`,
    socket,
    encodeURIComponent(socket),
    `[${socket}]`,
  ]) {
    for (const form of ["absolute", "connect-h1"] as const) {
      const { status } = await sendForm(t, form, sidekey, { host: target, route: "plain" });
      assert.ok([0, 400, 403].includes(status), `${form} ${target}: ${status}`);
    }
  }
  // It is there, so the refusals above were about something.
  await new Promise<void>((resolve, reject) => {
    const probe = connect(socket, () => {
      probe.destroy();
      resolve();
    });
    probe.once("error", reject);
  });
});

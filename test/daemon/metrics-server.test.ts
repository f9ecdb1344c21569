import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { createMetrics, type Metrics } from "../../src/daemon/metrics.ts";
import { createMetricsServer } from "../../src/daemon/metrics-server.ts";

async function startMetrics(t: TestContext, metrics: Metrics = createMetrics(), ready = { ok: true, reason: "ready" }) {
  const server = createMetricsServer(metrics, { ready: () => ready, beforeScrape: () => {} });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return async (path: string, method = "GET"): Promise<[number, string, string | null]> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return [response.status, await response.text(), response.headers.get("content-type")];
  };
}

test("/metrics is the exposition text", async (t) => {
  const ask = await startMetrics(t);
  const [status, text, type] = await ask("/metrics");
  assert.equal(status, 200);
  assert.match(text, /^sidekey_requests_total|# TYPE sidekey_/m);
  assert.match(type ?? "", /^text\/plain; version=/);
  assert.equal((await ask("/metrics?name[]=x"))[0], 200);
});

test("/healthz says that the process lives, /readyz whether traffic should come", async (t) => {
  const ready = { ok: true, reason: "ready" };
  const ask = await startMetrics(t, createMetrics(), ready);
  assert.deepEqual((await ask("/healthz")).slice(0, 2), [200, "ok\n"]);
  assert.deepEqual((await ask("/readyz")).slice(0, 2), [200, "ready\n"]);
  ready.ok = false;
  ready.reason = "the vault is sealed";
  assert.deepEqual((await ask("/readyz")).slice(0, 2), [503, "the vault is sealed\n"]);
  assert.equal((await ask("/healthz"))[0], 200);
});

test("nothing else is here, and nothing can be sent here", async (t) => {
  const ask = await startMetrics(t);
  for (const path of ["/", "/metrics/", "/healthz/x", "//metrics", "/admin", "/api/credentials"]) {
    assert.equal((await ask(path))[0], 404, path);
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"])
    assert.equal((await ask("/metrics", method))[0], 405, method);
  assert.deepEqual((await ask("/metrics", "HEAD")).slice(0, 2), [200, ""]);
});

test("a scrape that fails is a 500 without the reason, and the next one works", async (t) => {
  const metrics = createMetrics();
  let broken = true;
  const flaky: Metrics = {
    ...metrics,
    contentType: metrics.contentType,
    render: () => (broken ? Promise.reject(new Error("sk-secret")) : metrics.render()),
  };
  const ask = await startMetrics(t, flaky);
  assert.deepEqual((await ask("/metrics")).slice(0, 2), [500, "metrics could not be rendered\n"]);
  broken = false;
  assert.equal((await ask("/metrics"))[0], 200);
});

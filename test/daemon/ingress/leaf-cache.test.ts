import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { before, test } from "node:test";
import * as tls from "node:tls";
import {
  createRoot,
  type Intermediate,
  issueIntermediate,
  type Root,
} from "../../../src/daemon/ingress/certificate-authority.ts";
import { CertificateError } from "../../../src/daemon/ingress/certificates.ts";
import { createLeafCache, type LeafCache } from "../../../src/daemon/ingress/leaf-cache.ts";

const NOW = Date.now();
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const HOSTS = ["api.provider.test", "data.provider.test"];

let root: Root;
let intermediate: Intermediate;

before(async () => {
  root = await createRoot(NOW);
  intermediate = await issueIntermediate(root, HOSTS, NOW);
});

/** A cache whose clock the test moves. */
function cacheAt(startMs: number) {
  const failures: [string, unknown][] = [];
  const clock = { nowMs: startMs };
  const cache = createLeafCache(intermediate, HOSTS, {
    now: () => clock.nowMs,
    onFailure: (host, error) => failures.push([host, error]),
  });
  return { cache, clock, failures };
}

/** Server names of every kind, among them what a scanner or a fuzzer would send. */
function strangeName(index: number): string {
  const shapes = [
    `host-${index}.evil.test`,
    `${index}.api.provider.test`,
    `\0${index}`,
    `${"..".repeat(index % 9)}${index}`,
    `${index}\u{1f511}.test`,
    "x".repeat(index % 300),
    `10.0.${index % 256}.1`,
    ["__proto__", "constructor", "API.PROVIDER.TEST", "api.provider.test."][index % 4] ?? "",
  ];
  return shapes[index % shapes.length] ?? "";
}

test("ten thousand unknown server names mint nothing and never throw", async () => {
  const { cache, failures } = cacheAt(NOW);
  for (let index = 0; index < 10_000; index += 1) {
    const name = strangeName(index);
    assert.equal(cache.get(name), null);
    assert.equal(cache.contextFor(name), null);
  }
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(cache.minted, 0);
  assert.equal(cache.size, 0);
  assert.deepEqual(failures, []);
});

test("a hundred callers at once share one mint", async () => {
  const { cache } = cacheAt(NOW);
  const contexts = await Promise.all(Array.from({ length: 100 }, () => cache.contextFor("api.provider.test")));
  assert.equal(cache.minted, 1);
  assert.equal(new Set(contexts).size, 1);
  assert.equal(cache.contextFor("api.provider.test"), contexts[0]);
});

test("after preMint every policy host answers synchronously, and a second preMint mints nothing", async () => {
  const { cache } = cacheAt(NOW);
  assert.equal(cache.get("api.provider.test"), null);
  await cache.preMint();
  for (const host of HOSTS) assert.ok(cache.get(host));
  await cache.preMint();
  assert.equal(cache.minted, HOSTS.length);
  assert.equal(cache.size, HOSTS.length);
});

test("a leaf is replaced at two thirds of its life while the old one is still handed out", async () => {
  const { cache, clock } = cacheAt(NOW);
  const first = await cache.contextFor("api.provider.test");
  clock.nowMs = NOW + 15 * HOUR;
  assert.equal(cache.get("api.provider.test"), first);
  assert.equal(cache.minted, 1);
  clock.nowMs = NOW + 17 * HOUR;
  assert.equal(cache.get("api.provider.test"), first);
  await settled(cache, 2);
  const second = cache.get("api.provider.test");
  assert.ok(second);
  assert.notEqual(second, first);
});

test("an expired leaf is never handed out, nor one from a future that the clock was set back from", async () => {
  const { cache, clock } = cacheAt(NOW + DAY);
  await cache.contextFor("api.provider.test");
  for (const nowMs of [NOW + 3 * DAY, NOW]) {
    clock.nowMs = nowMs;
    assert.equal(cache.get("api.provider.test"), null);
    assert.ok(await cache.contextFor("api.provider.test"));
  }
  assert.equal(cache.minted, 3);
});

test("once the intermediate has expired the callback gets null and the failure is reported", async () => {
  const { cache, clock, failures } = cacheAt(NOW);
  await cache.contextFor("api.provider.test");
  clock.nowMs = intermediate.notAfterMs;
  assert.equal(cache.get("api.provider.test"), null);
  assert.equal(await cache.contextFor("api.provider.test"), null);
  await assert.rejects(cache.preMint(), CertificateError);
  const [host, error] = failures[0] ?? [];
  assert.equal(host, "api.provider.test");
  assert.ok(error instanceof CertificateError && error.code === "intermediate_expired");
});

test("a host that the intermediate does not name cannot get into the cache", () => {
  const make = () => createLeafCache(intermediate, ["evil.test"], { now: () => NOW });
  assert.throws(make, (error) => error instanceof CertificateError && error.code === "host_not_permitted");
});

test("a TLS client that trusts the root gets leaf and intermediate over TLS 1.2 and 1.3, and nothing older", async (t) => {
  const { cache } = cacheAt(NOW);
  await cache.preMint();
  const server = tls.createServer({
    SNICallback: (name, done) =>
      done(cache.get(name) === null ? new Error("no such host") : null, cache.get(name) ?? undefined),
  });
  server.on("secureConnection", (socket) => socket.end());
  server.on("tlsClientError", () => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const dial = (servername: string, maxVersion: tls.SecureVersion) =>
    handshake({
      port,
      host: "127.0.0.1",
      servername,
      ca: root.certificatePem,
      minVersion: "TLSv1",
      maxVersion,
      // OpenSSL's own client would not offer TLS 1.1; it is the server's refusal that counts.
      ciphers: "DEFAULT:@SECLEVEL=0",
    });
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    assert.deepEqual(await dial("api.provider.test", version), { version, chainLength: 3 });
  }
  await assert.rejects(dial("api.provider.test", "TLSv1.1"), { code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION" });
  await assert.rejects(dial("evil.test", "TLSv1.3"));
});

async function handshake(options: tls.ConnectionOptions): Promise<{ version: string | null; chainLength: number }> {
  const socket = tls.connect(options);
  try {
    await once(socket, "secureConnect");
    return { version: socket.getProtocol(), chainLength: chainLength(socket.getPeerCertificate(true)) };
  } finally {
    socket.destroy();
  }
}

function chainLength(leaf: tls.DetailedPeerCertificate): number {
  let length = 1;
  for (let one = leaf; one.issuerCertificate && one.issuerCertificate !== one; one = one.issuerCertificate) length += 1;
  return length;
}

/** Waits until `minted` mints are done; minting takes milliseconds. */
async function settled(cache: LeafCache, minted: number): Promise<void> {
  for (let turn = 0; turn < 500 && cache.minted < minted; turn += 1) await new Promise((done) => setTimeout(done, 5));
  assert.equal(cache.minted, minted);
}

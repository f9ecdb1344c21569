import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fetch, ProxyAgent } from "undici";
import { sha256 } from "../support/answer-parts.ts";
import { HOSTS, startClientScene } from "../support/client-scene.ts";
import { runForJson } from "../support/run-client.ts";

const SERVICE = join(import.meta.dirname, "fetch-service.ts");

function quote(symbol: string): string {
  return `200 ${JSON.stringify([{ symbol, price: 227.48, path: "/stable/quote" }])}`;
}

test("the global fetch, node:http and node:https go through the proxy that the environment names", async (t) => {
  const scene = await startClientScene(t);
  const printed = await runForJson(t, {
    program: process.execPath,
    args: [SERVICE, HOSTS.fmp],
    env: scene.throughProxy(),
  });
  const posted = { method: "POST", framing: "3 bytes", size: 3, sha256: sha256("a=1") };
  assert.deepEqual(printed, {
    secure: quote("AAPL"),
    plain: quote("MSFT"),
    posted: `200 ${JSON.stringify(posted)}`,
    several: [quote("A"), quote("B"), quote("C")],
    nodeSecure: quote("NVDA"),
    nodePlain: quote("TSLA"),
  });
  scene.arrived(8);
  // The global fetch opens a tunnel to port 80 for http URLs; node:http sends them in absolute form.
  assert.deepEqual(await scene.forms(), { absolute: 1, connect: 7 });
});

test("undici's ProxyAgent sends absolute-form requests and tunnels, for http where told to", async (t) => {
  const scene = await startClientScene(t);
  const token = `Bearer ${scene.token}`;
  for (const options of [{}, { requestTls: { ca: scene.sidekey.caPem }, allowH2: true }, { proxyTunnel: true }]) {
    const secure = "requestTls" in options;
    const dispatcher = new ProxyAgent({ uri: scene.origin, token, ...options });
    const url = `${secure ? "https" : "http"}://${HOSTS.fmp}/stable/quote?symbol=AAPL`;
    const response = await fetch(url, { dispatcher });
    assert.equal(`${response.status} ${await response.text()}`, quote("AAPL"), JSON.stringify(Object.keys(options)));
    await dispatcher.close();
    scene.arrived(1);
  }
  assert.deepEqual(await scene.forms(), { absolute: 1, connect: 2 });
});

test("fetch with a base URL shows the token where the provider takes a key", async (t) => {
  const scene = await startClientScene(t);
  const inQuery = await globalThis.fetch(`${scene.origin}/fmp/stable/quote?apikey=${scene.token}&symbol=AAPL`);
  assert.equal(`${inQuery.status} ${await inQuery.text()}`, quote("AAPL"));
  const streamed = await globalThis.fetch(`${scene.origin}/fmp/upload`, {
    method: "POST",
    headers: { apikey: scene.token },
    body: ReadableStream.from([Buffer.from("in "), Buffer.from("parts")]),
    duplex: "half",
  } as RequestInit);
  assert.equal(((await streamed.json()) as { sha256: string }).sha256, sha256("in parts"));
  // A 407 is a network error by the Fetch standard, so its status and body cannot be looked at.
  const wrong = globalThis.fetch(`${scene.origin}/fmp/stable/quote?apikey=placeholder`);
  assert.notEqual(await wrong.then(({ status }) => status).catch(() => "network error"), 200);
  scene.arrived(2);
});

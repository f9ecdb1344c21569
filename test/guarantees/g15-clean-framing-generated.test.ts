import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import fc from "fast-check";
import { connectRaw } from "../support/raw-client.ts";
import { controlCall } from "./control-call.ts";
import { FORMS, openH2, proxyAuthorization, sendForm, streamH2 } from "./request-form.ts";
import { hostOf, keyOf, type Scene, startScene, upstreamOf } from "./scene.ts";

const HOST = hostOf("header");
const TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const UNRESERVED = "ABCDEFabcdef0189-._~!$&'()*+,;=:@";

const text = (alphabet: string, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...alphabet), minLength: 1, maxLength });

/** Names that sidekey itself has something to say about are tried in the other tests. */
const fieldName = text(TOKEN, 12).map((name) => `x-${name.replaceAll("_", "-")}`);
const fieldValue = fc.string({
  unit: fc.constantFrom(...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)), " ", "\t", "\xe9"),
  maxLength: 40,
});
const path = fc.array(text(UNRESERVED, 8), { maxLength: 4 }).map((parts) => `/v1/${parts.join("/")}`);
const generated = fc.record({
  form: fc.constantFrom(...FORMS),
  method: fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
  path: path.filter((one) => !/(^|\/)\.{1,2}(\/|$)/.test(one)),
  query: fc.option(text(`${UNRESERVED}%41?/`.replace("%41", ""), 20)),
  fields: fc.array(fc.tuple(fieldName, fieldValue), { maxLength: 6 }),
  body: fc.option(
    fc.string({ unit: fc.constantFrom("\r", "\n", "0", "a", ":", " ", "\0", "GET / HTTP/1.1\r\n"), maxLength: 30 }),
    { nil: undefined },
  ),
});

const OURS = new Set(["host", "connection", "x-api-key", "content-length", "transfer-encoding"]);

test("G15 clean-framing: whatever a client sends, the provider reads exactly that one request", async (t) => {
  const scene = await startScene(t, { trustLoopback: true });
  const { requests, problems } = upstreamOf(scene, "header");
  await fc.assert(
    fc.asyncProperty(generated, async ({ form, method, path, query, fields, body }) => {
      const target = query === null ? path : `${path}?${query}`;
      const before = requests.length;
      const ask = { host: HOST, route: "header", client: null, method, path: target, fields: fields.flat() };
      const reply = await sendForm(t, form, scene.sidekey, body === undefined ? ask : { ...ask, body });
      assert.equal(reply.status, 200, reply.seen);
      assert.equal(requests.length - before, 1);
      const received = requests[before];
      assert.equal(received?.method, method);
      assert.equal(received?.target, target);
      assert.equal(received?.body.toString("latin1"), body ?? "");
      assert.deepEqual(received?.values("x-api-key"), [keyOf(scene, "header").text]);
      const others = received?.headers.filter(([name]) => !OURS.has(name.toLowerCase())) ?? [];
      const wanted = fields.map(([name, value]) => [name.toLowerCase(), value.replace(/^[ \t]+|[ \t]+$/g, "")]);
      assert.deepEqual(others.map(([name, value]) => [name.toLowerCase(), value]).sort(), wanted.sort());
    }),
    { numRuns: 150, seed: 15 },
  );
  assert.deepEqual(problems, []);
});

test("G15 clean-framing: HTTP/2 paths and values that would be two lines in HTTP/1.1 never arrive", async (t) => {
  const scene = await startScene(t, { trustLoopback: true });
  const { session } = await openH2(t, scene.sidekey, { host: HOST, route: "header", client: null });
  assert.ok(session);
  const pseudo = { ":method": "GET", ":path": "/", ":scheme": "https", ":authority": HOST };
  for (const headers of [
    { ...pseudo, "x-a": "1\r\nevil: 2" },
    { ...pseudo, "x-a": "1\nevil: 2" },
    { ...pseudo, "x-a": "1\0evil" },
    { ...pseudo, ":path": "/a b" },
    { ...pseudo, ":path": "/a HTTP/1.1\r\nevil: 2" },
    { ...pseudo, ":path": "/a#b" },
    { ...pseudo, ":path": "a" },
    { ...pseudo, ":path": "//evil\\b" },
    { ...pseudo, ":method": "GET /evil" },
  ]) {
    const { status } = await streamH2(session, headers);
    assert.ok(status === 0 || status === 400 || status === 200, `${JSON.stringify(headers)}: ${status}`);
    if (status === 200) assert.doesNotMatch(headers[":path"], /[ #\r\n]/);
  }
  const { requests, problems } = upstreamOf(scene, "header");
  assert.deepEqual(problems, []);
  for (const { headers } of requests) assert.ok(!headers.some(([name]) => name.toLowerCase() === "evil"));
  assert.ok(requests.every(({ bytes }) => !bytes.includes("GET /evil")));
});

const FLOOD = 2_000;
/** Of this process, which is also the 2000 clients. */
const RSS_GROWTH = 160 * 1024 * 1024;

test("G15 clean-framing: a flood of made-up server names mints no certificate and leaves the daemon as it was", async (t) => {
  const scene = await startScene(t);
  const before = await minted(scene);
  await flood(t, scene, 200);
  const settled = process.memoryUsage().rss;
  await flood(t, scene, FLOOD);
  assert.equal(await minted(scene), before);
  const grown = process.memoryUsage().rss - settled;
  assert.ok(grown < RSS_GROWTH, `the process grew by ${Math.round(grown / 1024 / 1024)} MiB`);
  assert.equal((await sendForm(t, "connect-h1", scene.sidekey, { host: HOST, route: "header" })).status, 200);
});

async function flood(t: TestContext, scene: Scene, count: number): Promise<void> {
  let next = 0;
  const head = `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\nProxy-Authorization: ${proxyAuthorization("app", scene.sidekey.tokens.app ?? "")}\r\n\r\n`;
  const one = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const connection = await connectRaw(t, scene.sidekey);
      await connection.write(head);
      await connection.read((bytes) => bytes.includes("\r\n\r\n"));
      connection.socket.removeAllListeners("data");
      await new Promise<void>((resolve) => {
        const socket = tlsConnect({
          socket: connection.socket,
          servername: `n${i}.${i % 2 ? HOST : "evil.test"}`,
          rejectUnauthorized: false,
        });
        socket.once("secureConnect", () => assert.fail("a made-up server name got a certificate"));
        socket.once("error", () => resolve());
        connection.socket.once("close", () => resolve());
      });
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: 20 }, one));
}

/** What the control socket says about certificates. */
async function minted(scene: Scene): Promise<number> {
  const { text } = await controlCall(scene.sidekey.dataDir, "GET", "/status");
  return (JSON.parse(text) as { counts: { certificatesMinted: number } }).counts.certificatesMinted;
}

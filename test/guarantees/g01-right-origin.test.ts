import assert from "node:assert/strict";
import { test } from "node:test";
import { connectRaw, type RawConnection, wholeResponse } from "../support/raw-client.ts";
import { openH2, proxyAuthorization, replyOf, sendInTunnel, streamH2, tunnelTo } from "./request-form.ts";
import { hostOf, keysSeen, type Scene, startScene, upstreamOf } from "./scene.ts";

const LISTED = hostOf("header");
const OTHER = hostOf("query");
const UNLISTED = "evil.test";
const request = { host: LISTED, route: "header" };
const get = (host: string): string => `GET /v1/data HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

async function connectTo(
  t: Parameters<typeof connectRaw>[0],
  { sidekey }: Scene,
  authority: string,
): Promise<RawConnection> {
  const connection = await connectRaw(t, { port: sidekey.port });
  const token = proxyAuthorization("app", sidekey.tokens.app ?? "");
  await connection.write(
    `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: ${token}\r\n\r\n`,
  );
  const answer = await connection.read((bytes) => bytes.includes("\r\n\r\n"));
  connection.discard();
  return /^HTTP\/1\.1 200 /.test(answer.text) ? connection : Promise.reject(new Error(answer.text));
}

/** Names on the three levels of one intercepted request; the status of its answer, 0 when there was none. */
async function request3(
  t: Parameters<typeof connectRaw>[0],
  scene: Scene,
  names: { connect: string; sni: string; host: string },
): Promise<number> {
  try {
    const ask = { host: names.connect, route: "header", servername: names.sni };
    return (await sendInTunnel(t, scene.sidekey, ask, get(names.host))).status;
  } catch {
    return 0;
  }
}

async function request3h2(
  t: Parameters<typeof connectRaw>[0],
  scene: Scene,
  names: { connect: string; sni: string; host: string },
): Promise<number> {
  try {
    const opened = await openH2(t, scene.sidekey, { host: names.connect, route: "header", servername: names.sni });
    if (!opened.session) return opened.refused.status;
    const pseudo = { ":method": "GET", ":path": "/v1/data", ":scheme": "https", ":authority": names.host };
    const reply = await streamH2(opened.session, pseudo);
    opened.session.destroy();
    return reply.status;
  } catch {
    return 0;
  }
}

for (const unmatched of ["deny", "tunnel"] as const) {
  for (const [protocol, send] of [
    ["HTTP/1.1", request3],
    ["HTTP/2", request3h2],
  ] as const) {
    test(`G1 right-origin: of 27 combinations of CONNECT, SNI and Host over ${protocol} (unmatched: ${unmatched}), only equal and listed ones carry a key`, async (t) => {
      const scene = await startScene(t, { kinds: ["header", "query"], strangers: [UNLISTED], unmatched });
      const names = [LISTED, OTHER, UNLISTED];
      for (const connect of names) {
        for (const sni of names) {
          for (const host of names) {
            const before = keysSeen(scene);
            const status = await send(t, scene, { connect, sni, host });
            const listed = connect === sni && sni === host && host !== UNLISTED;
            const label = `CONNECT ${connect} SNI ${sni} Host ${host}`;
            if (listed) assert.equal(status, 200, label);
            else if (connect !== UNLISTED) assert.ok(status === 0 || status === 421, `${label}: ${status}`);
            const kind = connect === LISTED ? "header" : "query";
            assert.deepEqual(
              keysSeen(scene).sort(),
              [...new Set([...before, ...(listed ? [`${kind}>${kind}`] : [])])].sort(),
              label,
            );
          }
        }
      }
      assert.equal(upstreamOf(scene, "header").requests.length, 1);
      assert.equal(upstreamOf(scene, "query").requests.length, 1);
    });
  }
}

test("G1 right-origin: spellings of the same authority are one authority, everything else is refused", async (t) => {
  const scene = await startScene(t);
  const same = { connect: LISTED, sni: LISTED, host: LISTED };
  for (const names of [
    { ...same, host: `${LISTED}:443` },
    { ...same, host: LISTED.toUpperCase() },
    { ...same, host: `${LISTED}.` },
    { ...same, sni: LISTED.toUpperCase() },
    { ...same, connect: LISTED.toUpperCase() },
    { ...same, connect: `${LISTED}.` },
  ]) {
    assert.equal(await request3(t, scene, names), 200, JSON.stringify(names));
  }
  const before = upstreamOf(scene, "header").requests.length;
  for (const names of [
    { ...same, host: `${LISTED}:8443` },
    { ...same, host: `${LISTED}:80` },
    { ...same, host: `x@${LISTED}` },
    { ...same, host: `${LISTED}/x` },
    { ...same, host: `${LISTED}, ${LISTED}` },
    { ...same, host: "xn--hder-7qa.test" },
    { ...same, host: "api.he\xe4der.test" },
    { ...same, host: `www.${LISTED}` },
    { ...same, host: `${LISTED}.evil.test` },
    { ...same, host: "api_header.test" },
    { ...same, host: "" },
    { ...same, sni: `www.${LISTED}` },
    { ...same, sni: `${LISTED}.evil.test` },
    { ...same, connect: `x${LISTED}` },
  ]) {
    const status = await request3(t, scene, names);
    assert.ok([0, 400, 403, 421].includes(status), `${JSON.stringify(names)}: ${status}`);
  }
  assert.equal(upstreamOf(scene, "header").requests.length, before);
});

test("G1 right-origin: without a server name, or with plain HTTP or other bytes in the tunnel, nothing is answered", async (t) => {
  const scene = await startScene(t);
  await assert.rejects(async () => {
    const outer = await connectTo(t, scene, `${LISTED}:443`);
    await outer.startTls({ ca: scene.sidekey.caPem, servername: "" });
  });
  for (const bytes of [get(LISTED), "SSH-2.0-x\r\n", Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 0])]) {
    const outer = await connectTo(t, scene, `${LISTED}:443`);
    await outer.write(bytes);
    const reply = await outer.read(() => false, 6_000);
    assert.equal(reply.ended, "close");
    assert.doesNotMatch(reply.text, /HTTP\/1/);
  }
  assert.deepEqual(keysSeen(scene), []);
});

test("G1 right-origin: each of 100 requests in one tunnel is checked, not the tunnel", async (t) => {
  const scene = await startScene(t, { kinds: ["header", "query"], strangers: [UNLISTED] });
  const { session } = await openH2(t, scene.sidekey, request);
  assert.ok(session);
  const pseudo = { ":method": "GET", ":path": "/v1/data", ":scheme": "https" };
  const others = [OTHER, UNLISTED];
  for (let i = 0; i < 100; i++) {
    const host = i % 2 === 0 ? LISTED : (others[(i >> 1) % 2] ?? "");
    const reply = await streamH2(session, { ...pseudo, ":authority": host });
    assert.equal(reply.status, host === LISTED ? 200 : 421, `request ${i} to ${host}`);
  }
  let tunnel = await tunnelTo(t, scene.sidekey, request);
  for (let i = 0; i < 100; i++) {
    const host = i % 5 < 3 ? LISTED : (others[i % 2] ?? "");
    await tunnel.write(get(host));
    const reply = replyOf(await tunnel.read(wholeResponse));
    assert.equal(reply.status, host === LISTED ? 200 : 421, `request ${i} to ${host}`);
    tunnel.discard();
    // A refused request ends its connection.
    if (host !== LISTED) tunnel = await tunnelTo(t, scene.sidekey, request);
  }
  assert.equal(upstreamOf(scene, "header").requests.length, 50 + 60);
  assert.deepEqual(keysSeen(scene), ["header>header"]);
});

test("G1 right-origin: in HTTP/2 a Host field that differs from :authority, another scheme and a full URL as path are refused", async (t) => {
  const scene = await startScene(t, { kinds: ["header", "query"] });
  const { session } = await openH2(t, scene.sidekey, request);
  assert.ok(session);
  const pseudo = { ":method": "GET", ":path": "/v1/data", ":scheme": "https", ":authority": LISTED };
  assert.equal((await streamH2(session, { ...pseudo, host: LISTED })).status, 200);
  for (const headers of [
    { ...pseudo, host: OTHER },
    { ...pseudo, ":scheme": "http" },
    { ...pseudo, ":path": `https://${OTHER}/v1/data` },
    { ...pseudo, ":path": "*" },
    { ...pseudo, ":authority": "" },
    { ...pseudo, ":authority": "", host: OTHER },
  ]) {
    const { status } = await streamH2(session, headers);
    assert.ok([0, 400, 421].includes(status), `${JSON.stringify(headers)}: ${status}`);
  }
  assert.equal(upstreamOf(scene, "header").requests.length, 1);
  assert.deepEqual(keysSeen(scene), ["header>header"]);
});

test("G1 right-origin: an absolute target and a Host that name different hosts are refused, both ways, and so is another port", async (t) => {
  const scene = await startScene(t, { kinds: ["header", "query"], strangers: [UNLISTED] });
  const token = proxyAuthorization("app", scene.sidekey.tokens.app ?? "");
  for (const [target, host, expected] of [
    [`http://${LISTED}/a`, LISTED, 200],
    [`https://${LISTED}/a`, LISTED, 200],
    [`http://${LISTED}:443/a`, LISTED, 200],
    [`http://${LISTED}/a`, OTHER, 400],
    [`http://${OTHER}/a`, LISTED, 400],
    [`http://${LISTED}/a`, UNLISTED, 400],
    [`http://${UNLISTED}/a`, LISTED, 400],
    [`http://${UNLISTED}/a`, UNLISTED, 403],
    [`http://${LISTED}:8080/a`, `${LISTED}:8080`, 403],
    [`https://${LISTED}:8443/a`, `${LISTED}:8443`, 403],
    [`http://x@${LISTED}/a`, LISTED, 400],
    [`http://${LISTED}@${UNLISTED}/a`, LISTED, 400],
    [`http://${LISTED}\\@${UNLISTED}/a`, LISTED, 400],
    [`ftp://${LISTED}/a`, LISTED, 400],
  ] as const) {
    const connection = await connectRaw(t, scene.sidekey);
    await connection.write(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${token}\r\n\r\n`);
    assert.equal(replyOf(await connection.read(wholeResponse)).status, expected, `${target} with Host ${host}`);
  }
  assert.equal(upstreamOf(scene, "header").requests.length, 3);
  assert.deepEqual(keysSeen(scene), ["header>header"]);
});

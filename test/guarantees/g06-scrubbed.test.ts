import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { brotliCompressSync, deflateRawSync, deflateSync, gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { FORMS, type Form, type FormClient, formClient } from "../e2e/form-client.ts";
import { type Canary, findCanary } from "../support/canary.ts";
import type { StandInAnswer } from "../support/stand-in.ts";
import { hostOf, type Kind, keyOf, type Scene, type SceneOptions, startScene, upstreamOf } from "./scene.ts";

const JSON_TYPE = { "content-type": "application/json" };

interface Echo {
  readonly scene: Scene;
  readonly key: Canary;
  readonly replacement: string;
  client(form: Form): FormClient;
  /** What the provider answers from now on. */
  answers(answer: StandInAnswer): void;
}

async function echo(t: TestContext, kind: Kind = "header", options: SceneOptions = {}): Promise<Echo> {
  let answer: StandInAnswer = { body: "ok" };
  const scene = await startScene(t, { kinds: [kind], specialKeys: true, handler: () => answer, ...options });
  const target = { ...scene.sidekey, host: hostOf(kind), route: kind };
  const clients = new Map<Form, FormClient>();
  return {
    scene,
    key: keyOf(scene, kind),
    replacement: `[sidekey:${kind}-main]`,
    client: (form) => {
      const known = clients.get(form) ?? formClient(t, form, target);
      clients.set(form, known);
      return known;
    },
    answers: (given) => {
      answer = given;
    },
  };
}

/** A key as it may stand in a body, by the encoding's name. */
function formsOf({ text, bytes }: Canary): Record<string, string> {
  const pair = (before: string): Buffer => Buffer.concat([Buffer.from(before), bytes, Buffer.from("z")]);
  const percent = encodeURIComponent(text);
  return {
    raw: text,
    percent,
    "percent in lower case": percent.replace(/%../g, (each) => each.toLowerCase()),
    "percent of every character": [...bytes].map((byte) => `%${byte.toString(16)}`).join(""),
    json: JSON.stringify(text).slice(1, -1),
    "json with escaped slashes": JSON.stringify(text).slice(1, -1).replaceAll("/", "\\/"),
    html: text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;"),
    hex: bytes.toString("hex"),
    HEX: bytes.toString("hex").toUpperCase(),
    "base64 at 0": pair("").toString("base64"),
    "base64 at 1": pair("u").toString("base64"),
    "base64 as user:key": Buffer.from(`u:${text}`).toString("base64"),
    "base64url at 0": pair("").toString("base64url"),
    "base64url at 1": pair("u").toString("base64url"),
    "base64url at 2": pair("u:").toString("base64url"),
  };
}

const CODINGS: Readonly<Record<string, (body: Buffer) => Buffer>> = {
  gzip: gzipSync,
  "x-gzip": gzipSync,
  deflate: deflateSync,
  "deflate ": deflateRawSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
};

/** One item per byte, so that every boundary is one. */
function bytewise(body: Buffer): Uint8Array[] {
  return Array.from(body, (byte) => Uint8Array.of(byte));
}

for (const form of FORMS) {
  test(`G6 scrubbed: no form of the key comes back in a body, whole, in chunks or byte by byte (${form})`, async (t) => {
    const { key, replacement, client, answers } = await echo(t);
    for (const [name, written] of Object.entries(formsOf(key))) {
      const body = Buffer.from(`{"you":"sent ${written}","n":1}\n`, "latin1");
      for (const sent of [body, [body], bytewise(body)]) {
        answers({ headers: JSON_TYPE, body: sent });
        const { body: got, complete } = await client(form).ask();
        assert.ok(complete, name);
        assert.deepEqual(findCanary([got], key), [], `${name}: ${got}`);
        const text = got.toString("latin1");
        assert.ok(text.includes(replacement) && text.startsWith('{"you":"sent ') && text.endsWith(',"n":1}\n'), text);
      }
    }
  });

  test(`G6 scrubbed: nor in a compressed one, which is passed on decoded (${form})`, async (t) => {
    const { key, replacement, client, answers } = await echo(t);
    const long = "0123456789".repeat(20_000);
    for (const [coding, compress] of Object.entries(CODINGS)) {
      for (const rest of ["", long]) {
        const plain = `{"a":"${key.bytes.toString("base64")}","b":"${rest}"}`;
        const packed = compress(Buffer.from(plain));
        const pieces = rest === "" ? bytewise(packed) : [packed.subarray(0, 50), packed.subarray(50)];
        for (const body of [packed, pieces]) {
          const headers = { ...JSON_TYPE, "content-encoding": coding.trim(), etag: '"v1"', "content-md5": "x" };
          answers({ headers, body });
          const got = await client(form).ask({ headers: { "accept-encoding": "gzip, deflate, br, zstd, compress" } });
          assert.deepEqual(got.values("content-encoding"), [], coding);
          assert.deepEqual([got.values("etag"), got.values("content-md5")], [['W/"v1"'], []], coding);
          assert.deepEqual(findCanary([got.body], key), [], coding);
          const text = got.body.toString("latin1");
          // The last characters of base64 may mix the key's last bits with what follows; they tell nothing.
          assert.ok(text.startsWith(`{"a":"${replacement}`) && text.endsWith(`","b":"${rest}"}`), coding);
        }
      }
    }
  });

  test(`G6 scrubbed: nor in header fields, reason phrases, interim answers and trailers (${form})`, async (t) => {
    const { key, replacement, client, scene } = await echo(t, "header", {
      specialKeys: false,
      handler: () =>
        `HTTP/1.1 103 Early Hints\r\nLink: <https://h/?key=${keyText()}>; rel=preload\r\n\r\n` +
        `HTTP/1.1 200 Hello ${keyText()}\r\nX-Echo: Bearer ${keyText()}\r\nLocation: https://h/?k=${encodeURIComponent(keyText())}\r\n` +
        `X-Basic: ${Buffer.from(`u:${keyText()}`).toString("base64")}\r\nAlt-Svc: h3=":443"\r\nSet-Cookie: k=${keyText()}\r\n` +
        `WWW-Authenticate: Bearer realm="${keyText()}"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n` +
        `2\r\nok\r\n0\r\nX-Sum: ${keyText()}\r\nX-Fine: yes\r\n\r\n`,
    });
    function keyText(): string {
      return keyOf(scene, "header").text;
    }
    const exchange = await client(form).open({});
    exchange.request.end();
    const got = await exchange.whole();
    const seen = [...got.fields, ...got.trailers, ...exchange.interim.flatMap(({ fields }) => fields)].flat();
    assert.deepEqual(findCanary(seen, key), [], seen.join("\n"));
    assert.deepEqual(got.values("x-echo"), [`Bearer ${replacement}`]);
    assert.deepEqual(got.values("location"), [`https://h/?k=${replacement}`]);
    for (const dropped of ["alt-svc", "set-cookie", "www-authenticate"]) assert.deepEqual(got.values(dropped), []);
    assert.equal(got.body.toString(), "ok");
    assert.deepEqual(
      got.trailers.map(([name, value]) => `${name.toLowerCase()}: ${value}`),
      [`x-sum: ${replacement}`, "x-fine: yes"],
    );
    const [line] = await scene.sidekey.requestsLogged(1);
    assert.equal(line?.outcome, "ok");
  });

  test(`G6 scrubbed: a coding that cannot be read is a 502, and nothing of it passes (${form})`, async (t) => {
    const { key, client, answers, scene } = await echo(t);
    const twice = gzipSync(gzipSync(key.bytes));
    for (const [codings, body] of [
      ["compress", key.bytes],
      ["gzip, gzip", twice],
      ["br, identity, gzip", twice],
      ["aws-chunked", key.bytes],
      [["gzip", "br"], twice],
    ] as const) {
      for (const sent of [body, [body]]) {
        answers({ headers: { ...JSON_TYPE, "content-encoding": codings }, body: sent });
        const got = await client(form).ask();
        assert.equal(`${got.status} ${got.values("sidekey-error")}`, "502 upstream_protocol", String(codings));
        assert.match(got.body.toString(), /coding_unknown/);
        assert.deepEqual(findCanary([got.body], key), []);
      }
    }
    assert.equal(upstreamOf(scene, "header").problems.length, 0);
  });

  test(`G6 scrubbed: what is not in its coding, or is a bomb, is cut instead of passed (${form})`, async (t) => {
    const { client, answers } = await echo(t);
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const cut = gzipSync(Buffer.from(`{"a":"${"x".repeat(100_000)}"}`)).subarray(0, 60);
    for (const [what, body] of [
      ["a bomb", bomb],
      ["cut", cut],
      ["nothing of the kind", Buffer.from("plain text")],
    ] as const) {
      for (const sent of [body, [body.subarray(0, 20), body.subarray(20)]]) {
        answers({ headers: { ...JSON_TYPE, "content-encoding": "gzip" }, body: sent });
        const got = await client(form)
          .ask()
          .catch(() => null);
        assert.ok(got === null || got.status === 502 || !got.complete, what);
        assert.ok((got?.body.length ?? 0) < 8 * 1024 * 1024, `${what}: ${got?.body.length} bytes`);
      }
    }
  });
}

test("G6 scrubbed: an event leaves when it has come, and a key in it is taken out", async (t) => {
  const scene = await startScene(t, {
    handler: (_request, socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
      send = (text) => void socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
      opened();
    },
  });
  let send: (text: string) => void = () => {};
  let opened: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    opened = resolve;
  });
  const key = keyOf(scene, "header");
  const target = { ...scene.sidekey, host: hostOf("header"), route: "header" };
  const exchange = await formClient(t, "absolute", target).open({});
  exchange.request.end();
  await ready;
  const { body } = await exchange.answer;
  const next = (): Promise<string> =>
    new Promise((resolve) => body.once("data", (chunk: Buffer) => resolve(String(chunk))));
  for (const [sent, expected] of [
    ["data: one\n\n", "data: one\n\n"],
    // Ends as a key begins, but for the line break.
    [`data: ${key.text.slice(0, 20)}\n\n`, `data: ${key.text.slice(0, 20)}\n\n`],
    [`data: ${key.text}\n\n`, "data: [sidekey:header-main]\n\n"],
  ] as const) {
    const arrived = next();
    send(sent);
    assert.equal(await arrived, expected);
  }
});

test("G6 scrubbed: a query key and a Basic pair are taken out of what a provider repeats", async (t) => {
  for (const kind of ["query", "basic"] as const) {
    const { key, client, answers, scene, replacement } = await echo(t, kind);
    const { text } = key;
    answers({
      headers: JSON_TYPE,
      body: JSON.stringify({
        url: `https://h/?apikey=${encodeURIComponent(text)}`,
        pair: btoa(`id-of-${kind}:${text}`),
      }),
    });
    const got = await client("absolute").ask();
    assert.deepEqual(findCanary([got.body], key), []);
    assert.equal(got.body.toString().split(replacement).length, 3, got.body.toString());
    assert.match(upstreamOf(scene, kind).requests[0]?.bytes.toString("latin1") ?? "", /apikey=|Basic /i);
  }
});

test("G6 scrubbed: the answer is asked for whole and in codings that can be read, and says what was done", async (t) => {
  const { client, answers, scene } = await echo(t);
  answers({ headers: { ...JSON_TYPE, "accept-ranges": "bytes" }, body: "{}" });
  for (const [accept, asked] of [
    ["gzip, br;q=0.5, compress", "gzip, br"],
    ["compress", "identity"],
    ["*", "gzip, deflate, br, zstd"],
    ["gzip;q=0", "identity"],
  ] as const) {
    await client("absolute").ask({ headers: { "accept-encoding": accept, range: "bytes=0-9", "if-range": '"v1"' } });
    const request = upstreamOf(scene, "header").requests.at(-1);
    assert.deepEqual(
      [request?.values("accept-encoding"), request?.values("range"), request?.values("if-range")],
      [[asked], [], []],
    );
  }
  await client("absolute").ask();
  assert.deepEqual(upstreamOf(scene, "header").requests.at(-1)?.values("accept-encoding"), []);
});

test("G6 scrubbed: a client that takes nothing but a coding gets the answer in it, scrubbed", async (t) => {
  const { key, client, answers, replacement } = await echo(t);
  for (const body of [`{"a":"${key.text}"}`, [`{"a":"${key.text.slice(0, 9)}`, `${key.text.slice(9)}"}`]]) {
    answers({ headers: JSON_TYPE, body });
    const got = await client("absolute").ask({ headers: { "accept-encoding": "gzip, identity;q=0" } });
    assert.deepEqual([got.values("content-encoding"), got.values("content-length")], [["gzip"], []]);
    assert.equal(gunzipSync(got.body).toString(), `{"a":"${replacement}"}`);
  }
});

test("G6 scrubbed: a short answer keeps its Content-Length, a download its place for every byte", async (t) => {
  const { key, client, answers, replacement } = await echo(t);
  answers({ headers: JSON_TYPE, body: '{"a":1}' });
  assert.deepEqual((await client("absolute").ask()).values("content-length"), ["7"]);
  answers({ headers: JSON_TYPE, body: `"${key.text}"` });
  const short = await client("absolute").ask();
  assert.deepEqual(short.values("content-length"), [String(replacement.length + 2)]);
  const file = Buffer.concat([Buffer.alloc(200_000, 7), key.bytes, Buffer.alloc(200_000, 8)]);
  answers({ headers: { "content-type": "application/octet-stream" }, body: file });
  const download = await client("absolute").ask();
  assert.deepEqual(download.values("content-length"), [String(file.length)]);
  assert.equal(download.body.length, file.length);
  assert.equal(
    download.body.subarray(200_000, 200_000 + key.bytes.length).toString(),
    replacement.padEnd(key.bytes.length, "*"),
  );
});

test("G6 scrubbed: new tokens of a token endpoint do not come through, and an unreadable answer of it neither", async (t) => {
  const provider = `id: minty
name: Minty
category: demo
docs: https://api.minty.test/docs
sources: ["made for a test (S)"]
environments: { live: { hosts: [api.minty.test] } }
fields: { api_key: { label: API key, secret: true } }
auth: [{ scheme: header, headers: { x-key: "{api_key}" } }]
mints: [{ paths: [/oauth/token], members: [access_token, refresh_token] }]
`;
  const { startSidekey } = await import("../support/running-sidekey.ts");
  const { startStandIn } = await import("../support/stand-in.ts");
  let body = "";
  const standIn = await startStandIn(t, {
    hostnames: ["api.minty.test"],
    handler: () => ({ headers: { "content-type": "application/json" }, body: [body] }),
  });
  const route = (more: string) => `{ provider: minty, credentials: [m], clients: [app]${more} }`;
  for (const [more, passes] of [
    ["", false],
    [", response: { tokens: pass }", true],
  ] as const) {
    const sidekey = await startSidekey(t, {
      policy: `version: 1\nclients: { app: { token: true } }\nroutes:\n  minty: ${route(more)}\n`,
      providers: { minty: provider },
      credentials: { m: { provider: "minty", hosts: ["api.minty.test"], fields: { api_key: "sk-minty-0123456789" } } },
      hosts: { "api.minty.test": { port: standIn.port, caPem: standIn.caPem } },
    });
    const client = formClient(t, "absolute", { ...sidekey, host: "api.minty.test", route: "minty" });
    const ask = (path: string) => client.ask({ method: "POST", path, body: "grant_type=client_credentials" });
    body = '{"access_token":"new-token-1","expires_in":60,"refresh_token":"new-token-2"}';
    const expected = body.replace(/new-token-\d/g, "[sidekey:m]");
    assert.equal((await ask("/oauth/token")).body.toString(), passes ? body : expected);
    assert.equal((await ask("/oauth/other")).body.toString(), body);
    body = "access token: new-token-1";
    const unreadable = await ask("/oauth/token");
    assert.equal(unreadable.status, passes ? 200 : 502);
    assert.equal(unreadable.body.includes("new-token"), passes);
  }
});

test("G6 scrubbed: only a route that says so lets answers pass unread, codings and ranges included", async (t) => {
  const { key, client, answers, scene } = await echo(t, "header", { routes: { header: "response: { scrub: off }" } });
  const packed = gzipSync(key.bytes);
  answers({ headers: { "content-encoding": "gzip" }, body: packed });
  const got = await client("absolute").ask({ headers: { range: "bytes=0-9", "accept-encoding": "compress" } });
  assert.ok(got.body.equals(packed));
  assert.deepEqual(got.values("content-encoding"), ["gzip"]);
  const request = upstreamOf(scene, "header").requests[0];
  assert.deepEqual([request?.values("range"), request?.values("accept-encoding")], [["bytes=0-9"], ["compress"]]);
});

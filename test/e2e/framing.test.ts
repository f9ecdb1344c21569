import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { connectRaw, sendRaw, wholeResponse } from "../support/raw-client.ts";
import { type ReceivedRequest, type StandIn, type StandInAnswer, startStandIn } from "../support/stand-in.ts";
import { type Answer, FORMS, type Form, formClient, proxyAuthorization } from "./form-client.ts";
import { HOST, KEY, type OneRoute, oneRoute, outcomes } from "./one-route.ts";

const TIMEOUT = { timeout: 20_000 };

interface Setup {
  readonly t: TestContext;
  readonly form: Form;
  readonly standIn: StandIn;
  readonly sidekey: OneRoute;
  /** Sends one request; the provider answers with these bytes. */
  readonly exchange: (
    answer: StandInAnswer,
    ask?: Parameters<ReturnType<typeof formClient>["ask"]>[0],
  ) => Promise<Answer>;
  readonly last: () => ReceivedRequest;
}

async function start(t: TestContext, form: Form, more = ""): Promise<Setup> {
  let next: StandInAnswer = "";
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => next });
  const sidekey = await oneRoute(t, standIn, more);
  const client = formClient(t, form, sidekey);
  return {
    t,
    form,
    standIn,
    sidekey,
    exchange: (answer, ask) => {
      next = answer;
      return client.ask(ask);
    },
    last: () => {
      assert.deepEqual(standIn.problems, []);
      const request = standIn.requests.at(-1);
      assert.ok(request);
      return request;
    },
  };
}

const isH2 = (form: Form): boolean => form === "connect-h2";

type Check = (setup: Setup) => Promise<void>;

/** Answers that are about framing; each must reach the client whole and leave the connections usable. */
const ANSWERS: Readonly<Record<string, Check>> = {
  "HEAD passes the length without a body": async ({ exchange }) => {
    const answer = await exchange("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: x\r\n\r\n", { method: "HEAD" });
    assert.deepEqual([answer.status, answer.body.length, answer.complete], [200, 0, true]);
    assert.deepEqual(answer.values("content-length"), ["1234"]);
  },
  "204 has no body and no length": async ({ exchange }) => {
    for (const length of ["", "Content-Length: 0\r\n"]) {
      const answer = await exchange(`HTTP/1.1 204 No Content\r\n${length}X-A: 1\r\n\r\n`, { method: "DELETE" });
      assert.deepEqual([answer.status, answer.body.length, answer.complete], [204, 0, true]);
      assert.deepEqual(answer.values("content-length"), []);
    }
  },
  "304 keeps the length that a 200 would have": async ({ exchange }) => {
    const answer = await exchange('HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: "a"\r\n\r\n');
    assert.deepEqual([answer.status, answer.body.length, answer.complete], [304, 0, true]);
    assert.deepEqual(answer.values("etag"), ['"a"']);
  },
  "an empty 200 is complete": async ({ exchange }) => {
    const answer = await exchange("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert.deepEqual([answer.status, answer.body.length, answer.complete], [200, 0, true]);
  },
  "a body that ends with the connection is whole": async ({ exchange }) => {
    const answer = await exchange({ body: ["one", "two"], close: true });
    assert.deepEqual([answer.status, String(answer.body), answer.complete], [200, "onetwo", true]);
  },
  "provider errors pass unchanged": async ({ exchange }) => {
    for (const status of [400, 401, 403, 404, 500, 503]) {
      const body = `{"error":{"code":"e${status}"}}`;
      const headers = { "content-type": "application/json", "retry-after": "7", "x-request-id": "r1" };
      const answer = await exchange({ status, headers, body });
      assert.equal(`${answer.status} ${answer.body}`, `${status} ${body}`);
      for (const [name, value] of Object.entries(headers)) assert.deepEqual(answer.values(name), [value]);
      assert.deepEqual(answer.values("sidekey-error"), []);
    }
  },
  "redirects pass and are not followed": async ({ exchange, standIn }) => {
    const before = standIn.requests.length;
    for (const status of [301, 302, 307, 308]) {
      const answer = await exchange({ status, headers: { location: "https://elsewhere.example/x" }, body: "moved" });
      assert.equal(`${answer.status} ${answer.values("location")}`, `${status} https://elsewhere.example/x`);
    }
    assert.equal(standIn.requests.length, before + 4);
  },
  "trailers follow the body": async ({ exchange }) => {
    const answer = await exchange(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n" +
        "5\r\nhello\r\n0\r\nX-Checksum: abc\r\nSet-Cookie: a=b\r\n\r\n",
    );
    assert.equal(`${answer.status} ${answer.body} ${answer.complete}`, "200 hello true");
    assert.deepEqual(
      answer.trailers.map(([name, value]) => [name.toLowerCase(), value]),
      [["x-checksum", "abc"]],
    );
  },
  "103 comes first, its malformed or secret-bearing fields do not": async ({ t, form, sidekey, exchange }) => {
    const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\nSet-Cookie: a=b\r\n\r\n";
    const odd = "HTTP/1.1 103 Early Hints\r\nLink: <<broken\r\n\r\n";
    const end = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    await exchange(hint + odd + end);
    const open = await formClient(t, form, sidekey).open({});
    open.request.end();
    const answer = await open.whole();
    assert.equal(`${answer.status} ${answer.body}`, "200 ok");
    const [first] = open.interim;
    assert.equal(first?.status, 103);
    const names = (first?.fields ?? []).map(([name]) => name.toLowerCase()).filter((name) => !name.startsWith(":"));
    assert.deepEqual(names, ["link"]);
  },
  "fields that occur twice stay two, cookies do not pass": async ({ exchange }) => {
    const headers = {
      "x-twice": ["1", "2"],
      "content-language": ["de", "en"],
      vary: ["accept", "origin"],
      etag: ["a", "b"],
      "set-cookie": ["a=1", "b=2"],
    };
    const answer = await exchange({ headers, body: "x" });
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.values("x-twice").join(", "), "1, 2");
    assert.deepEqual(answer.values("content-language").join(", "), "de, en");
    assert.deepEqual(answer.values("vary").join(", "), "accept, origin");
    assert.deepEqual(answer.values("set-cookie"), []);
  },
  "a hundred fields and bytes beyond ASCII pass": async ({ exchange }) => {
    const many = Array.from({ length: 100 }, (_, n) => `X-Field-${n}: value ${n}\r\n`).join("");
    const answer = await exchange(`HTTP/1.1 200 D\xe9j\xe0 vu\r\n${many}X-Name: caf\xe9\r\nContent-Length: 1\r\n\r\nx`);
    assert.equal(answer.status, 200);
    for (const n of [0, 50, 99]) assert.deepEqual(answer.values(`x-field-${n}`), [`value ${n}`]);
    assert.deepEqual(answer.values("x-name"), ["caf\xe9"]);
  },
};

/** Requests whose framing has to be made anew. */
const REQUESTS: Readonly<Record<string, Check>> = {
  "a POST of nothing says so": async ({ exchange, last, form }) => {
    const headers = isH2(form) ? undefined : { "content-length": "0" };
    await exchange({ body: "ok" }, { method: "POST", ...(headers ? { headers } : {}) });
    assert.deepEqual([last().values("content-length"), last().values("transfer-encoding")], [["0"], []]);
  },
  "a body without a length goes out in chunks, whatever the method": async ({ t, form, sidekey, exchange, last }) => {
    await exchange({ body: "ok" });
    for (const method of ["GET", "DELETE", "POST"]) {
      const framing = isH2(form) ? {} : { "transfer-encoding": "chunked" };
      const open = await formClient(t, form, sidekey).open({ method, headers: framing, body: "later" });
      open.request.write("one,");
      open.request.end("two");
      const answer = await open.whole();
      assert.equal(`${answer.status} ${answer.body}`, "200 ok");
      assert.equal(`${last().method} ${last().body}`, `${method} one,two`);
      assert.equal([...last().values("transfer-encoding"), ...last().values("content-length")].length, 1);
      assert.deepEqual(last().values("authorization"), [`Bearer ${KEY}`]);
    }
  },
  "a body with a length keeps it": async ({ exchange, last }) => {
    for (const method of ["GET", "DELETE", "PUT"]) {
      const answer = await exchange({ body: "ok" }, { method, body: "12345", headers: { "content-length": "5" } });
      assert.equal(answer.status, 200);
      assert.deepEqual([last().values("content-length"), last().values("transfer-encoding")], [["5"], []]);
      assert.equal(String(last().body), "12345");
    }
  },
  "connection fields and what they list stay behind": async ({ exchange, last, form }) => {
    const listed = isH2(form) ? {} : { connection: "x-secret, keep-alive", "keep-alive": "timeout=5", te: "trailers" };
    await exchange({ body: "ok" }, { headers: { ...listed, "x-forwarded-for": "10.0.0.1", "x-kept": "yes" } });
    for (const gone of ["keep-alive", "te", "x-forwarded-for"]) assert.deepEqual(last().values(gone), []);
    assert.deepEqual(last().values("x-kept"), ["yes"]);
    assert.deepEqual(last().values("connection"), ["keep-alive"]);
  },
};

for (const form of FORMS) {
  test(`${form}: answers`, TIMEOUT, async (t) => {
    const setup = await start(t, form);
    for (const [name, check] of Object.entries(ANSWERS)) await t.test(name, () => check(setup));
  });

  test(`${form}: requests`, TIMEOUT, async (t) => {
    const setup = await start(t, form);
    for (const [name, check] of Object.entries(REQUESTS)) await t.test(name, () => check(setup));
    const ended = await outcomes(setup.sidekey, setup.standIn.requests.length);
    assert.deepEqual([...new Set(ended)], ["ok"]);
    assert.equal(ended.length, setup.standIn.requests.length);
  });

  test(`${form}: a provider's own 429 passes unchanged, and sidekey keeps to it`, TIMEOUT, async (t) => {
    const { exchange, standIn } = await start(t, form);
    const limited = await exchange({ status: 429, headers: { "retry-after": "7" }, body: "slower" });
    assert.deepEqual([limited.status, String(limited.body)], [429, "slower"]);
    assert.deepEqual([limited.values("retry-after"), limited.values("sidekey-error")], [["7"], []]);
    const held = await exchange({ body: "ok" });
    assert.deepEqual([held.status, held.values("sidekey-error")], [429, ["limit_exceeded"]]);
    assert.ok(Number(held.values("retry-after")[0]) >= 7, held.values("retry-after").join());
    assert.equal(standIn.requests.length, 1);
  });

  test(`${form}: cookies pass where the route says so`, TIMEOUT, async (t) => {
    const { exchange } = await start(t, form, "response: { setCookie: pass }");
    const answer = await exchange({ headers: { "set-cookie": ["a=1", "b=2"] }, body: "x" });
    assert.deepEqual(answer.values("set-cookie"), ["a=1", "b=2"]);
  });

  test(`${form}: a provider that answers 100 unasked makes a clean 502`, TIMEOUT, async (t) => {
    const { exchange, sidekey } = await start(t, form);
    const answer = await exchange("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert.equal(answer.status, 502);
    assert.deepEqual(answer.values("sidekey-error"), ["upstream_protocol"]);
    assert.deepEqual(await outcomes(sidekey, 1), ["upstream_protocol"]);
  });
}

for (const form of FORMS) {
  const expecting = { method: "POST", headers: { expect: "100-continue" } };

  test(`${form}: a body that waits for 100 is asked for and sent on`, TIMEOUT, async (t) => {
    const { sidekey, standIn, exchange } = await start(t, form);
    await exchange({ body: "ok" });
    const open = await formClient(t, form, sidekey).open({ ...expecting, body: "later" });
    if ("flushHeaders" in open.request) (open.request as { flushHeaders(): void }).flushHeaders();
    await once(open.request, "continue");
    open.request.end("payload");
    const answer = await open.whole();
    assert.equal(`${answer.status} ${answer.body}`, "200 ok");
    assert.equal(String(standIn.requests.at(-1)?.body), "payload");
    assert.deepEqual(standIn.requests.at(-1)?.values("expect"), []);
  });

  test(`${form}: a refused body that waits for 100 gets the answer alone`, TIMEOUT, async (t) => {
    const { sidekey, standIn } = await start(t, form, "allow: [ { methods: [GET] } ]");
    const open = await formClient(t, form, sidekey).open({ ...expecting, body: "later" });
    if ("flushHeaders" in open.request) (open.request as { flushHeaders(): void }).flushHeaders();
    const answer = await open.whole();
    assert.equal(`${answer.status} ${answer.values("sidekey-error")}`, "403 not_allowed");
    assert.deepEqual(open.interim, []);
    assert.equal(standIn.connections(), 0);
  });
}

const GET_1_0 = (sidekey: OneRoute, more = ""): string =>
  `GET http://${HOST}/v1/data HTTP/1.0\r\nProxy-Authorization: ${proxyAuthorization(sidekey)}\r\n${more}\r\n`;

test("a client of HTTP/1.0 gets no chunks, no interim answers, and its connection closed", TIMEOUT, async (t) => {
  const early = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
  const chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => early + chunks });
  const sidekey = await oneRoute(t, standIn);
  const reply = await sendRaw(t, { port: sidekey.port, bytes: GET_1_0(sidekey) });
  assert.equal(reply.ended, "close");
  assert.match(reply.text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.doesNotMatch(reply.text, /transfer-encoding|103/i);
  assert.ok(reply.text.endsWith("\r\n\r\nonetwo"), reply.text);
});

test("an expectation of HTTP/1.0 is not answered with 100", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "ok" }) });
  const sidekey = await oneRoute(t, standIn);
  const head = GET_1_0(sidekey, "Expect: 100-continue\r\nContent-Length: 2\r\n").replace("GET", "POST");
  const reply = await sendRaw(t, { port: sidekey.port, bytes: `${head}hi` });
  assert.match(reply.text, /^HTTP\/1\.1 200 /);
  assert.equal(String(standIn.requests[0]?.body), "hi");
});

test("pipelined requests are answered in order", TIMEOUT, async (t) => {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: ({ target }) => ({ body: `<${target}>` }) });
  const sidekey = await oneRoute(t, standIn);
  const one = (path: string): string =>
    `GET http://${HOST}${path} HTTP/1.1\r\nHost: ${HOST}\r\nProxy-Authorization: ${proxyAuthorization(sidekey)}\r\n\r\n`;
  const connection = await connectRaw(t, { port: sidekey.port });
  await connection.write(one("/a") + one("/b") + one("/c"));
  const reply = await connection.read((bytes) => bytes.includes("</c>"));
  assert.deepEqual(reply.text.match(/<\/\w>/g), ["</a>", "</b>", "</c>"]);
});

for (const [what, next] of Object.entries({
  "an upgrade":
    "GET http://x.example/ HTTP/1.1\r\nHost: x.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
  "a CONNECT": `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`,
  "another CONNECT": "CONNECT x.example:443 HTTP/1.1\r\nHost: x.example:443\r\n\r\n",
  garbage: "\x00\x01garbage\r\n\r\n",
})) {
  test(
    `${what} behind a request that is still being answered ends the connection and nothing else`,
    TIMEOUT,
    async (t) => {
      const standIn = await startStandIn(t, {
        hostnames: [HOST],
        handler: (_request, socket) =>
          void socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"),
      });
      const sidekey = await oneRoute(t, standIn);
      const first = `GET http://${HOST}/a HTTP/1.1\r\nHost: ${HOST}\r\nProxy-Authorization: ${proxyAuthorization(sidekey)}\r\n\r\n`;
      const together = await connectRaw(t, { port: sidekey.port });
      await together.write(first + next);
      assert.doesNotMatch((await together.read()).text, /HTTP\/1\.1 (?:101|200 Connection)/);
      const apart = await connectRaw(t, { port: sidekey.port });
      await apart.write(first);
      await apart.read((bytes) => bytes.includes("1\r\na\r\n"));
      apart.discard();
      await apart.write(next);
      const reply = await apart.read();
      assert.equal(reply.text, "");
      const again = await sendRaw(t, {
        port: sidekey.port,
        bytes: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        until: wholeResponse,
      });
      assert.match(again.text, /^HTTP\/1\.1 403 /);
    },
  );
}

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { pause } from "../support/running-sidekey.ts";
import { until } from "./lying-scene.ts";
import { outcomes } from "./one-route.ts";
import { twoKeys } from "./two-keys.ts";

const TIMEOUT = { timeout: 30_000 };
const RETRY = "retry: { attempts: 3, on: [refused, limited, connect, unavailable], within: 10s }";
const SECRET_WORD = "only-in-the-refused-answer";
const LIMITED = `HTTP/1.1 429 Slow\r\nX-Refused: ${SECRET_WORD}\r\nContent-Type: application/json\r\n`;

/** Done to the connection of the first key; the second one is answered well. */
type Refusal = (socket: Socket) => void;

const part = `{"error":{"message":"${SECRET_WORD}`;

async function drip(socket: Socket, text: string): Promise<void> {
  for (const byte of text) {
    if (socket.destroyed) return;
    socket.write(byte);
    await pause(300);
  }
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  "says nothing behind its head": (socket) => void socket.write(`${LIMITED}Content-Length: 100\r\n\r\n`),
  "stops in the middle of its body": (socket) => void socket.write(`${LIMITED}Content-Length: 100\r\n\r\n${part}`),
  "stops between chunks": (socket) => void socket.write(`${LIMITED}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`),
  "comes byte by byte": (socket) => {
    socket.write(`${LIMITED}Content-Length: 5000\r\n\r\n`);
    void drip(socket, part.padEnd(5_000));
  },
  "never ends": (socket) => {
    socket.write(`${LIMITED}Transfer-Encoding: chunked\r\n\r\n`);
    const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
    const more = (): void => {
      if (!socket.destroyed) socket.write(chunk, more);
    };
    more();
  },
  "announces more than it has": (socket) => void socket.write(`${LIMITED}Content-Length: ${2 ** 40}\r\n\r\n${part}`),
  "is a bomb": (socket) => {
    const bomb = gzipSync(Buffer.alloc(100_000_000));
    socket.write(`${LIMITED}Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`);
    socket.write(bomb);
  },
  "is in a coding that nobody knows": (socket) =>
    void socket.write(`${LIMITED}Content-Encoding: x-unknown\r\nContent-Length: 2\r\n\r\nok`),
};

/** Told by their head alone, because of what is wrong behind it. */
const BY_HEAD: Readonly<Record<string, { refusal: Refusal; told: RegExp }>> = {
  "breaks off in its body": {
    refusal: (socket) => void socket.end(`${LIMITED}Content-Length: 100\r\n\r\n${part}`),
    told: /^main;v=1;s=429;m=limited, spare;v=1;s=200$/,
  },
  "is in gzip that is none": {
    refusal: (socket) =>
      void socket.write("HTTP/1.1 401 No\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone"),
    told: /^main;v=1;s=401;m=\w+, spare;v=1;s=200$/,
  },
};

/** Ended properly, so that its connection can be used again. */
const REUSED = new Set(["is in a coding that nobody knows"]);

/** What came from the first key's connections, and whether they are gone. */
async function refusedBy(t: TestContext, refusal: Refusal, method = "POST") {
  const sockets = new Set<Socket>();
  const scene = await twoKeys(t, RETRY, (key, _request, socket) => {
    if (key === "spare") return { body: "welcome" };
    sockets.add(socket);
    refusal(socket);
  });
  const ask = { method, path: "/v1/x", ...(method === "POST" ? { body: '{"input":"x"}' } : {}) };
  return { ...scene, sockets, answer: await scene.client.ask(ask) };
}

for (const [what, refusal] of Object.entries(REFUSALS)) {
  test(`a refusal that ${what} is judged in time, and nothing of it reaches the client`, TIMEOUT, async (t) => {
    const { answer, asked, sidekey, sockets } = await refusedBy(t, refusal);
    assert.equal(`${answer.status} ${answer.body}`, "200 welcome");
    assert.doesNotMatch(JSON.stringify(answer.fields), new RegExp(SECRET_WORD));
    assert.match(answer.values("sidekey-attempts").join(), /^main;v=1;s=429;m=\w+, spare;v=1;s=200$/);
    assert.equal(asked().length, 2);
    assert.deepEqual(await outcomes(sidekey, 1), ["ok"]);
    await until(() => [...sockets].every((socket) => socket.destroyed) || REUSED.has(what));
  });
}

for (const [what, { refusal, told }] of Object.entries(BY_HEAD)) {
  test(`a refusal that ${what} counts as what its status says`, TIMEOUT, async (t) => {
    const { answer, asked } = await refusedBy(t, refusal);
    assert.equal(`${answer.status} ${answer.body}`, "200 welcome");
    assert.match(answer.values("sidekey-attempts").join(), told);
    assert.equal(asked().length, 2);
  });
}

const FAILING = "HTTP/1.1 500 No\r\n";

test("a provider in trouble is not read to the end, and is asked as often as the route says", TIMEOUT, async (t) => {
  const sockets = new Set<Socket>();
  let written = 0;
  const { client, asked, sidekey } = await twoKeys(t, RETRY, (_key, _request, socket) => {
    sockets.add(socket);
    socket.write(`${FAILING}Transfer-Encoding: chunked\r\n\r\n`);
    const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
    const more = (): void => {
      written += chunk.length;
      if (sockets.size >= 3 && [...sockets].at(-1) === socket) socket.end("0\r\n\r\n");
      else if (!socket.destroyed) socket.write(chunk, more);
    };
    more();
  });
  const answer = await client.ask({ path: "/v1/x" });
  assert.equal(answer.status, 500);
  assert.equal(answer.values("sidekey-attempts").join().split(", ").length, 3);
  assert.equal(asked().length, 3);
  assert.deepEqual(await outcomes(sidekey, 1), ["provider_5xx"]);
  await until(() => [...sockets].every((socket) => socket.destroyed));
  // What the sockets of this machine hold, and not gigabytes.
  assert.ok(written < 64 * 1024 * 1024, String(written));
});

for (const [what, breaks] of Object.entries<Refusal>({
  "in its head": (socket) => void socket.end("HTTP/1.1 500 No\r\nX-"),
  "in the part that is judged": (socket) => void socket.end(`${FAILING}Content-Length: 100\r\n\r\n${part}`),
  "in its chunks": (socket) => void socket.end(`${FAILING}Transfer-Encoding: chunked\r\n\r\n5\r\nab`),
  "in its framing": (socket) => void socket.end(`${FAILING}Transfer-Encoding: chunked\r\n\r\nzz\r\n`),
})) {
  test(`an answer that breaks ${what} is not completed, whichever key is tried`, TIMEOUT, async (t) => {
    const { client, asked, sidekey } = await twoKeys(t, RETRY, (_key, _request, socket) => breaks(socket));
    for (const [method, tries] of [
      ["POST", 1],
      ["GET", 3],
    ] as const) {
      const before = asked().length;
      const answer = await client.ask({ method, path: "/v1/x", ...(method === "POST" ? { body: "{}" } : {}) });
      assert.deepEqual([answer.status, answer.complete], [502, true], method);
      assert.doesNotMatch(String(answer.body), new RegExp(SECRET_WORD));
      assert.ok(asked().length - before <= tries, `${method}: ${asked().length - before} tries`);
    }
    for (const outcome of await outcomes(sidekey, 2)) assert.match(outcome, /^upstream_(?:connect|protocol)$/);
  });
}

test("an answer that breaks behind what was judged is cut, and not tried again", TIMEOUT, async (t) => {
  const { client, asked, sidekey } = await twoKeys(t, RETRY, (_key, _request, socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    setImmediate(() => socket.end());
  });
  const answer = await client.ask({ path: "/v1/x" });
  assert.deepEqual([answer.status, String(answer.body), answer.complete], [200, "half", false]);
  assert.equal(asked().length, 1);
  assert.deepEqual(await outcomes(sidekey, 1), ["truncated"]);
});

test(
  "a client that leaves while its answer is judged ends the exchange, and nothing is tried again",
  TIMEOUT,
  async (t) => {
    const sockets = new Set<Socket>();
    const { client, asked, sidekey } = await twoKeys(t, RETRY, (_key, _request, socket) => {
      sockets.add(socket);
      socket.write(`${LIMITED}Content-Length: 100\r\n\r\n${part}`);
    });
    const exchange = await client.open({ method: "POST", path: "/v1/x", headers: {} });
    exchange.request.end("{}");
    await until(() => asked().length === 1);
    exchange.abort();
    assert.deepEqual(await outcomes(sidekey, 1), ["client_closed"]);
    await until(() => [...sockets].every((socket) => socket.destroyed));
    assert.equal(asked().length, 1);
  },
);

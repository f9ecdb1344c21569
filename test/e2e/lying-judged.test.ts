import assert from "node:assert/strict";
import { test } from "node:test";
import { pause } from "../support/running-sidekey.ts";
import type { StandInHandler } from "../support/stand-in.ts";
import { formClient } from "./form-client.ts";
import { limitRemaining } from "./lying-provider.ts";
import { outcomes } from "./one-route.ts";
import { twoKeys } from "./two-keys.ts";

const TIMEOUT = { timeout: 30_000 };
const RETRY = "retry: { attempts: 2, within: 20s }, limits: [ { name: open, per: [client], concurrent: 5 } ]";

/** What a provider does to the first try, and what the client is told of it. The second try is answered well. */
const FIRST: Readonly<
  Record<string, { lie: (socket: Parameters<StandInHandler>[1]) => void; told: RegExp; endless?: boolean }>
> = {
  "a 429 whose body never comes": {
    lie: (socket) => socket.write("HTTP/1.1 429 No\r\nContent-Length: 100\r\n\r\n"),
    told: /^main;v=1;s=429;m=limited, spare;v=1;s=200/,
    endless: true,
  },
  "a 429 whose body comes byte by byte": {
    lie: (socket) => {
      socket.write("HTTP/1.1 429 No\r\nContent-Length: 100000\r\n\r\n");
      const drip = setInterval(() => socket.write("x"), 50);
      socket.once("close", () => clearInterval(drip));
    },
    told: /^main;v=1;s=429;m=limited, spare;v=1;s=200/,
    endless: true,
  },
  "a 429 that breaks off in its body": {
    lie: (socket) => socket.end("HTTP/1.1 429 No\r\nContent-Length: 100\r\n\r\nnot all"),
    told: /^main;v=1;s=429;m=limited, spare;v=1;s=200/,
  },
  "a 401 in gzip that is none": {
    lie: (socket) => socket.write("HTTP/1.1 401 No\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone"),
    told: /^main;v=1;s=401;m=\w+, spare;v=1;s=200/,
  },
  "a 429 in a coding that nobody knows": {
    lie: (socket) => socket.write("HTTP/1.1 429 No\r\nContent-Encoding: rot13\r\nContent-Length: 4\r\n\r\nabcd"),
    told: /^main;v=1;s=429;m=limited, spare;v=1;s=200/,
  },
  "a 503 whose body has no end": {
    lie: (socket) => {
      socket.write("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n");
      const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
      const more = (): void => {
        while (socket.writable && socket.write(chunk));
      };
      socket.on("drain", more);
      more();
    },
    told: /^main;v=1;s=503;m=unavailable, (?:main|spare);v=1;s=200/,
    endless: true,
  },
  "no answer but an end": {
    lie: (socket) => socket.end(),
    told: /^main;v=1;m=connect, (?:main|spare);v=1;s=200/,
  },
};

for (const [name, { lie, told, endless = false }] of Object.entries(FIRST)) {
  test(`${name} is judged in bounded time, and nothing of it reaches the client`, TIMEOUT, async (t) => {
    let closed: Promise<unknown> = Promise.resolve();
    let first = true;
    const { client, sidekey, asked } = await twoKeys(t, RETRY, (_key, _request, socket) => {
      if (!first) return { body: "well" };
      first = false;
      closed = new Promise((resolve) => socket.once("close", resolve));
      lie(socket);
    });
    const answer = await client.ask({ path: "/v1/files" });
    assert.deepEqual([answer.status, String(answer.body), answer.complete], [200, "well", true]);
    assert.match(answer.values("sidekey-attempts").join(), told);
    assert.equal(asked().length, 2);
    assert.deepEqual(await outcomes(sidekey, 1), ["ok"]);
    assert.equal(await limitRemaining({ ...sidekey }, "open"), 5);
    // What was refused is not read on for ever.
    if (endless) await closed;
  });
}

test("a provider that refuses every try has the last word", TIMEOUT, async (t) => {
  const { client, asked } = await twoKeys(t, RETRY, (key) => ({
    status: 429,
    headers: { "retry-after": "30" },
    body: `no to ${key}`,
  }));
  const answer = await client.ask({ path: "/v1/files" });
  assert.deepEqual([answer.status, String(answer.body)], [429, "no to spare"]);
  assert.match(answer.values("sidekey-attempts").join(), /^main;v=1;s=429;m=limited, spare;v=1;s=429;m=limited$/);
  assert.equal(asked().length, 2);
});

test("a client that leaves while an answer is judged leaves nothing behind, and no other try", TIMEOUT, async (t) => {
  const { client, sidekey, asked, standIn } = await twoKeys(t, RETRY, (_key, _request, socket) => {
    socket.write("HTTP/1.1 429 No\r\nContent-Length: 100\r\n\r\n");
  });
  const open = await client.open({ path: "/v1/files" });
  open.request.end();
  open.answer.catch(() => {});
  while (asked().length === 0) await pause(5);
  await pause(50);
  open.abort();
  assert.deepEqual(await outcomes(sidekey, 1), ["client_closed"]);
  assert.equal(await limitRemaining(sidekey, "open"), 5);
  // Longer than a judge waits.
  await pause(1_300);
  assert.equal(asked().length, 1);
  assert.deepEqual(standIn.problems, []);
});

test("half a body that is held for another try is never sent", TIMEOUT, async (t) => {
  const { sidekey, asked } = await twoKeys(t, RETRY, () => ({ body: "well" }));
  const client = formClient(t, "absolute", sidekey);
  const open = await client.open({ method: "POST", path: "/v1/files", headers: { "content-length": "1000" } });
  open.answer.catch(() => {});
  open.request.write("half");
  await pause(50);
  open.abort();
  assert.deepEqual(await outcomes(sidekey, 1), ["client_closed"]);
  assert.equal(await limitRemaining(sidekey, "open"), 5);
  assert.deepEqual(asked(), []);
});

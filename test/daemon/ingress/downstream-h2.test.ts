import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { ask, startIngress, startSession } from "./running-ingress.ts";

test("head, body and trailers arrive; repeated fields stay repeated; no date is invented", async (t) => {
  const run = await startIngress(t, ({ downstream }) => {
    assert.equal(downstream.headSent, false);
    downstream.sendHead(299, "ignored", ["Set-Cookie", "a", "set-cookie", "b", "X-One", "1"], false);
    assert.equal(downstream.headSent, true);
    downstream.write(Buffer.from("hello"));
    downstream.end(["X-Sum", "1"]);
  });
  const answer = await ask(await startSession(t, run), { ":path": "/" });
  assert.deepEqual([answer.status, answer.body, answer.trailers["x-sum"], answer.code], [299, "hello", "1", 0]);
  assert.deepEqual(answer.headers["set-cookie"], ["a", "b"]);
  assert.equal(answer.headers["x-one"], "1");
  assert.equal(answer.headers.date, undefined);
});

test("answers without content end, whether the method or the status says so", async (t) => {
  const run = await startIngress(t, ({ downstream }, parsed) => {
    downstream.sendHead(Number(parsed().target.path.slice(1)), "", ["ETag", "x"], true);
    downstream.end([]);
  });
  const session = await startSession(t, run);
  const cases: readonly [string, number][] = [
    ["HEAD", 200],
    ["GET", 200],
    ["GET", 204],
    ["GET", 304],
    ["POST", 204],
  ];
  for (const [method, status] of cases) {
    const answer = await ask(session, { ":path": `/${status}`, ":method": method });
    assert.deepEqual([answer.status, answer.headers.etag, answer.code], [status, "x", 0]);
  }
});

test("a field that should be single but comes twice from the provider passes, instead of ending the stream", async (t) => {
  for (const name of ["x-content-type-options", "access-control-allow-credentials", "date", "content-type"]) {
    const run = await startIngress(t, ({ downstream }) => {
      downstream.sendHead(200, "", [name, "a", name, "a"], true);
      downstream.end([name, "a", name, "a"]);
    });
    const answer = await ask(await startSession(t, run), { ":path": "/" });
    assert.deepEqual([answer.status, answer.headers[name], answer.code], [200, "a", 0], name);
  }
});

test("interim answers 100, 102 and 103 go out before the final one", async (t) => {
  const run = await startIngress(t, ({ downstream }) => {
    downstream.sendContinue();
    downstream.sendInformational(103, ["Link", "</a>"]);
    downstream.sendInformational(199, []);
    downstream.sendHead(204, "", [], true);
    downstream.end([]);
  });
  const session = await startSession(t, run);
  const stream = session.request({ ":path": "/" });
  const interim: unknown[] = [];
  stream.on("headers", (headers) => interim.push(headers[":status"], headers.link));
  stream.on("continue", () => interim.push("continue"));
  await new Promise((resolve) => stream.on("close", resolve).resume());
  assert.ok(interim.includes(103) && interim.includes("</a>"));
});

test("an upload that was answered early is stopped without an error, and the session goes on", async (t) => {
  const run = await startIngress(t, ({ downstream }, parsed) => {
    const { body, target } = parsed();
    if (target.path === "/refused") {
      downstream.sendHead(407, "", ["Content-Length", "2"], false);
      downstream.write(Buffer.from("no"));
      downstream.end([]);
      return;
    }
    let size = 0;
    body?.on("data", (chunk: Buffer) => {
      size += chunk.length;
    });
    body?.on("end", () => {
      downstream.sendHead(200, "", [], true);
      downstream.write(Buffer.from(String(size)));
      downstream.end(["x-sum", "1"]);
    });
  });
  const session = await startSession(t, run);
  const large = Buffer.alloc(400_000);
  for (let round = 0; round < 3; round++) {
    const refused = await ask(session, { ":path": "/refused", ":method": "POST" }, large);
    assert.deepEqual([refused.status, refused.body, refused.code], [407, "no", 0]);
    const whole = await ask(session, { ":path": "/whole", ":method": "POST" }, large);
    assert.deepEqual([whole.status, whole.body, whole.trailers["x-sum"]], [200, "400000", "1"]);
  }
});

test("a cut answer is a stream error, never a whole answer", async (t) => {
  const run = await startIngress(t, async ({ downstream }) => {
    downstream.sendHead(200, "", [], true);
    downstream.write(Buffer.from("half"));
    await pause(20);
    downstream.abort();
  });
  const answer = await ask(await startSession(t, run), { ":path": "/" });
  assert.deepEqual([answer.body, answer.code], ["half", 2]);
});

test("onClose tells when the client resets before the end; what is sent afterwards does no harm", async (t) => {
  let gone = 0;
  const run = await startIngress(t, async ({ downstream }) => {
    downstream.onClose(() => gone++);
    await pause(60);
    downstream.sendHead(200, "", [], true);
    assert.equal(downstream.write(Buffer.from("late")), true);
    downstream.end([]);
  });
  const session = await startSession(t, run);
  const stream = session.request({ ":path": "/" });
  stream.on("error", () => {});
  await pause(20);
  stream.close(8);
  await pause(80);
  assert.equal(gone, 1);
  await ask(session, { ":path": "/" });
  assert.equal(gone, 1);
});

test("an upgrade over HTTP/2 is a defect", async (t) => {
  const run = await startIngress(t, ({ downstream }) => {
    assert.throws(() => downstream.switchProtocols([]), /internal/);
    downstream.sendHead(204, "", [], true);
    downstream.end([]);
  });
  assert.equal((await ask(await startSession(t, run), { ":path": "/" })).status, 204);
});

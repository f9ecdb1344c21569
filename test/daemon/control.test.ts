import assert from "node:assert/strict";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { type Control, ControlInUse, startControl } from "../../src/daemon/control.ts";
import type { Outcome } from "../../src/daemon/pipeline/exchange.ts";
import { tempDir } from "../support/temp-dir.ts";

interface Running {
  readonly control: Control;
  readonly path: string;
  readonly reloads: { ok: boolean; problems: readonly string[] }[];
}

const NO_KEYS = { seal: () => {}, unseal: async () => {}, expectRoot: () => {} };

async function running(t: TestContext): Promise<Running> {
  const path = join(tempDir(t), "control.sock");
  const reloads: Running["reloads"] = [];
  const control = await startControl(path, {
    status: () => ({ sealed: false, revision: "r1" }),
    reload: async () => reloads.shift() ?? { ok: true, problems: [] },
    ...NO_KEYS,
  });
  t.after(() => control.close());
  return { control, path, reloads };
}

function open(socketPath: string, method: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, method, path }, resolve).on("error", reject).end();
  });
}

async function call(socketPath: string, method: string, path: string): Promise<[number, unknown]> {
  const response = await open(socketPath, method, path);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return [response.statusCode ?? 0, JSON.parse(Buffer.concat(chunks).toString())];
}

test("status and reload answer over a socket that only its owner may open", async (t) => {
  const { path, reloads } = await running(t);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(await call(path, "GET", "/status"), [200, { sealed: false, revision: "r1" }]);
  assert.deepEqual(await call(path, "POST", "/reload"), [200, { ok: true, problems: [] }]);
  reloads.push({ ok: false, problems: ["policy.yaml:3 wrong"] });
  assert.deepEqual(await call(path, "POST", "/reload"), [422, { ok: false, problems: ["policy.yaml:3 wrong"] }]);
});

test("other calls do not exist", async (t) => {
  const { path } = await running(t);
  for (const [method, url] of [
    ["GET", "/reload"],
    ["POST", "/status"],
    ["GET", "/status?x"],
    ["GET", "/secrets"],
  ]) {
    assert.deepEqual(await call(path, method ?? "", url ?? ""), [404, { error: "no such call" }], `${method} ${url}`);
  }
});

test("a second daemon on the same directory is refused, and a socket that a killed one left behind is replaced", async (t) => {
  const first = await running(t);
  await assert.rejects(
    startControl(first.path, { status: () => ({}), reload: async () => ({ ok: true, problems: [] }), ...NO_KEYS }),
    ControlInUse,
  );
  assert.equal((await call(first.path, "GET", "/status"))[0], 200, "the first one is still there");
  const path = join(tempDir(t), "control.sock");
  writeFileSync(path, "left over");
  const control = await startControl(path, {
    status: () => ({}),
    reload: async () => ({ ok: true, problems: [] }),
    ...NO_KEYS,
  });
  assert.equal((await call(path, "GET", "/status"))[0], 200);
  control.close();
  assert.equal(existsSync(path), false);
});

test("followers see each outcome as one line; one who leaves or reads too slowly costs the others nothing", async (t) => {
  const { control, path } = await running(t);
  const outcome = (id: string): Outcome => ({ id, path: "x".repeat(1000), usage: null }) as unknown as Outcome;
  control.publish(outcome("nobody listens"));
  const [reader, leaver, slow] = await Promise.all([1, 2, 3].map(() => open(path, "GET", "/requests")));
  assert.ok(reader && leaver && slow);
  slow.pause();
  leaver.destroy();
  await pause(20);
  const lines: string[] = [];
  reader.setEncoding("utf8").on("data", (text: string) => lines.push(text));
  for (let index = 0; index < 5_000; index++) {
    control.publish(outcome(`id-${index}`));
    if (index % 100 === 0) await pause(1);
  }
  while (!lines.join("").includes("id-4999")) await pause(5);
  const seen = lines.join("").trimEnd().split("\n");
  assert.equal(seen.length, 5_000);
  assert.equal(JSON.parse(seen[0] ?? "").id, "id-0");
});

test("followers see what an answer used, without the provider's own words for a failure", async (t) => {
  const { control, path } = await running(t);
  const follower = await open(path, "GET", "/requests");
  const line = new Promise<string>((resolve) => follower.once("data", (chunk) => resolve(String(chunk))));
  const usage = { model: "m", tier: null, units: { input: 5 }, quality: "exact", partial: false, failure: "canary" };
  await pause(20);
  control.publish({ id: "1", usage } as unknown as Outcome);
  const { failure: _, ...told } = usage;
  assert.deepEqual(JSON.parse(await line), { id: "1", usage: told });
});

test("closing ends the followers and removes the socket", async (t) => {
  const { control, path } = await running(t);
  const follower = await open(path, "GET", "/requests");
  follower.on("error", () => {});
  const closed = new Promise((resolve) => follower.once("close", resolve));
  control.close();
  await closed;
  assert.equal(existsSync(path), false);
});

test("a reload that throws ends that call and not the daemon", async (t) => {
  const path = join(tempDir(t), "control.sock");
  const control = await startControl(path, {
    status: () => ({ ok: true }),
    reload: async () => {
      throw new Error("broken");
    },
    ...NO_KEYS,
  });
  t.after(() => control.close());
  await assert.rejects(call(path, "POST", "/reload"));
  assert.deepEqual(await call(path, "GET", "/status"), [200, { ok: true }]);
});

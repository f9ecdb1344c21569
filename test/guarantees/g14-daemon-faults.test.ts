import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { type CliPlace, initializedPlace } from "../support/cli-process.ts";
import { compileShim, FaultControl, type FaultMode, faultsPossible } from "../support/fault-control.ts";
import { pause } from "../support/running-sidekey.ts";
import { tempDir } from "../support/temp-dir.ts";

const SIDEKEY = resolve(import.meta.dirname, "../../bin/sidekey");
const DEADLINE_MS = 20_000;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly tookMs: number;
}

interface Faulty {
  readonly place: CliPlace;
  readonly child: ChildProcess;
  readonly control: FaultControl;
  readonly metricsPort: number;
  /** One request to the demo provider, whose key has to be opened for it. */
  hello(): Promise<Answer>;
  errors(): string;
}

/** `bin/sidekey serve` under the shim, with the demo provider, forgetting every key as soon as it is unused. */
async function startFaulty(t: TestContext): Promise<Faulty> {
  const place = await initializedPlace(t);
  const [port, metricsPort, adminPort] = [await freePort(), await freePort(), await freePort()];
  edit(join(place.config, "daemon.yaml"), [
    ["127.0.0.1:8787", `127.0.0.1:${port}`],
    ["127.0.0.1:9477", `127.0.0.1:${metricsPort}`],
    ["127.0.0.1:8788", `127.0.0.1:${adminPort}`],
    ["idle: 5s", "idle: 0s"],
    ["flush: 1s", "flush: 50ms"],
  ]);
  edit(join(place.config, "policy.yaml"), [["requests: 60/min, burst: 20", "requests: 60000/min, burst: 1000"]]);
  const home = tempDir(t);
  mkdirSync(join(home, "shim"));
  const control = FaultControl.create(join(home, "control"));
  t.after(() => control.close());
  const environment = control.environment(compileShim(join(home, "shim")), realpathSync(place.data));
  const child = spawn("sh", [SIDEKEY, "serve", "--allow-dangerous-environment"], {
    cwd: place.dir,
    env: { PATH: process.env.PATH, HOME: place.dir, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  await until(() => output.includes("listens on"), "start");
  const call = { host: "127.0.0.1", port, path: "http://demo.sidekey.test/hello" };
  const authorization = `Basic ${Buffer.from(`app:${place.token}`).toString("base64")}`;
  const hello = () => ask({ ...call, headers: { host: "demo.sidekey.test", "proxy-authorization": authorization } });
  return { place, child, control, metricsPort, hello, errors: () => output };
}

function edit(file: string, changes: readonly (readonly [string, string])[]): void {
  const text = changes.reduce((before, [from, to]) => before.replace(from, to), readFileSync(file, "utf8"));
  writeFileSync(file, text);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === "object" && address !== null ? address.port : 0;
}

function ask(call: object): Promise<Answer> {
  const startedAt = performance.now();
  return new Promise((done, reject) => {
    const outgoing = request({ ...call, agent: false, timeout: DEADLINE_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      const { statusCode = 0, headers } = response;
      response.once("end", () => done({ status: statusCode, headers, text, tookMs: performance.now() - startedAt }));
    });
    outgoing.once("timeout", () => outgoing.destroy(new Error("no answer")));
    outgoing.once("error", reject).end();
  });
}

async function until(reached: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await reached())) {
    if (performance.now() > deadline) throw new Error(`timed out: ${what}`);
    await pause(20);
  }
}

for (const [mode, cause, code] of [
  ["eio", "EIO", "io"],
  ["enospc", "ENOSPC", "full"],
] as const satisfies readonly (readonly [FaultMode, string, string])[]) {
  test(`G14 durable: while every write fails with ${cause} a daemon answers 503, and it goes on when they work again`, async (t) => {
    if (!(await faultsPossible(t))) return;
    const { place, child, control, metricsPort, hello, errors } = await startFaulty(t);
    assert.equal((await hello()).status, 200);

    control.arm(1, mode, true);
    await until(async () => (await hello()).status !== 200, "the opened key is forgotten");
    for (const { status, headers, text, tookMs } of await Promise.all(Array.from({ length: 10 }, hello))) {
      const { code: answered, reason } = JSON.parse(text) as Record<string, unknown>;
      assert.deepEqual([status, answered, reason], [503, "no_usable_credential", "credential_not_opened"]);
      assert.equal(headers["sidekey-error"], "no_usable_credential");
      assert.ok(tookMs < 10_000, `it hung for ${tookMs} ms`);
    }
    assert.equal((await ask({ host: "127.0.0.1", port: metricsPort, path: "/healthz" })).status, 200);
    assert.ok(control.read().fired >= 10, "the faults did not reach the daemon");
    await until(() => errors().includes(`"error":"DatabaseError","code":"${code}"`), "the log names the reason");

    control.disarm();
    await until(async () => (await hello()).status === 200, "the daemon recovers");
    assert.equal(child.exitCode, null);
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [0, null], errors());
    const verified = await place.run(["audit", "verify"]);
    assert.equal(verified.code, 0, verified.all);
  });
}

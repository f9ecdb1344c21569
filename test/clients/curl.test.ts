import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { programRuns, requires } from "../support/requirement.ts";
import { tempDir } from "../support/temp-dir.ts";
import { sha256 } from "./support/answer-parts.ts";
import { type ClientScene, HOSTS, startClientScene } from "./support/client-scene.ts";
import { runClient } from "./support/run-client.ts";

const QUOTE = "/stable/quote?symbol=AAPL";
const WRITE_OUT =
  '\n{"status":"%{http_code}","version":"%{http_version}","connect":"%{http_connect}","seconds":%{time_total}}';

interface Transfer {
  readonly status: number;
  readonly version: string;
  readonly connect: number;
  readonly seconds: number;
  readonly body: string;
  readonly stderr: string;
}

async function curl(
  t: TestContext,
  scene: ClientScene,
  args: readonly string[],
  input?: Uint8Array,
): Promise<Transfer> {
  const run = await runClient(t, {
    program: "curl",
    args: ["-q", "--silent", "--show-error", "--max-time", "20", "--write-out", WRITE_OUT, ...args],
    env: scene.throughProxy(),
    ...(input === undefined ? {} : { input }),
  });
  const end = run.stdout.lastIndexOf("\n");
  const about = JSON.parse(run.stdout.slice(end + 1)) as Omit<Transfer, "body" | "stderr">;
  return {
    ...about,
    status: Number(about.status),
    connect: Number(about.connect),
    body: run.stdout.slice(0, end),
    stderr: run.stderr,
  };
}

/** The same request in every form that curl can give it: arguments, and what the transfer must have used. */
function forms(scene: ClientScene): { name: string; args: string[]; version: string; connect: number; url: string }[] {
  const secure = `https://${HOSTS.fmp}`;
  return [
    { name: "absolute form", args: [], version: "1.1", connect: 0, url: `http://${HOSTS.fmp}` },
    { name: "CONNECT, HTTP/1.1", args: ["--http1.1"], version: "1.1", connect: 200, url: secure },
    { name: "CONNECT, HTTP/2", args: ["--http2"], version: "2", connect: 200, url: secure },
    {
      name: "base URL",
      args: ["--header", `apikey: ${scene.token}`],
      version: "1.1",
      connect: 0,
      url: `${scene.origin}/fmp`,
    },
  ];
}

test("curl reaches a provider in every form", async (t) => {
  if (!(await requires(t, "curl", () => programRuns("curl")))) return;
  const scene = await startClientScene(t);
  for (const { name, args, version, connect, url } of forms(scene)) {
    await t.test(`${name}: a query`, async () => {
      const got = await curl(t, scene, [...args, url + QUOTE]);
      assert.equal(got.status, 200, got.body + got.stderr);
      assert.equal(`HTTP/${got.version}, CONNECT ${got.connect}`, `HTTP/${version}, CONNECT ${connect}`);
      assert.deepEqual(JSON.parse(got.body), [{ symbol: "AAPL", price: 227.48, path: "/stable/quote" }]);
      scene.arrived(1);
    });
    await t.test(`${name}: uploads of a known and of an unknown length`, async (t) => {
      const content = randomBytes(300_000);
      const file = join(tempDir(t), "upload.bin");
      writeFileSync(file, content);
      const sized = await curl(t, scene, [...args, "--upload-file", file, `${url}/store/upload.bin`]);
      const streamed = await curl(t, scene, [...args, "--upload-file", "-", `${url}/store/upload.bin`], content);
      const received = { method: "PUT", size: content.length, sha256: sha256(content) };
      assert.deepEqual(JSON.parse(sized.body), { ...received, framing: "300000 bytes" });
      assert.deepEqual(JSON.parse(streamed.body), { ...received, framing: "chunked" });
      scene.arrived(2);
    });
  }
  await expectContinue(t, scene);
  await ownAuthorization(t, scene);
  await refusals(t, scene);
});

async function expectContinue(t: TestContext, scene: ClientScene): Promise<void> {
  for (const { name, args, url, version } of forms(scene)) {
    // Expect means nothing to curl in HTTP/2.
    if (version === "2") continue;
    await t.test(`${name}: Expect: 100-continue is answered, so curl does not wait for its body`, async () => {
      const wait = ["--header", "Expect: 100-continue", "--expect100-timeout", "15"];
      const got = await curl(t, scene, [...args, ...wait, "--verbose", "--data", "x=1", `${url}/form`]);
      assert.equal(got.status, 200, got.stderr);
      assert.match(got.stderr, /< HTTP\/1\.1 100 /);
      assert.ok(got.seconds < 10, `took ${got.seconds} s`);
      assert.equal((JSON.parse(got.body) as { size: number }).size, 3);
      scene.arrived(1);
    });
  }
}

async function ownAuthorization(t: TestContext, scene: ClientScene): Promise<void> {
  await t.test("a key or password that the caller puts in is replaced", async () => {
    const url = `https://${HOSTS.openai}/v1/models`;
    const bearer = await curl(t, scene, ["--header", "Authorization: Bearer sk-placeholder", url]);
    const basic = await curl(t, scene, ["--user", "someone:placeholder", "--header", "api-key: placeholder", url]);
    assert.deepEqual([bearer.status, basic.status], [200, 200]);
    scene.arrived(2);
  });
  await t.test("a client that shows its token only when asked for it gets through", async () => {
    for (const how of [
      [`http://${HOSTS.fmp}${QUOTE}`],
      ["--http1.1", `https://${HOSTS.fmp}${QUOTE}`],
      ["--http2", `https://${HOSTS.fmp}${QUOTE}`],
    ]) {
      const got = await curl(t, scene, ["--proxy-anyauth", "--output", "/dev/null", ...how]);
      assert.equal(got.status, 200, how.join(" "));
    }
    scene.arrived(3);
  });
  await t.test("parallel transfers share a connection to sidekey", async () => {
    const urls = ["AAPL", "MSFT", "NVDA", "TSLA"].map((symbol) => `https://${HOSTS.fmp}/stable/quote?symbol=${symbol}`);
    const run = await runClient(t, {
      program: "curl",
      args: ["-q", "--silent", "--parallel", "--http2", "--max-time", "20", ...urls],
      env: scene.throughProxy(),
    });
    assert.equal(run.code, 0, run.stderr);
    for (const symbol of ["AAPL", "MSFT", "NVDA", "TSLA"]) assert.ok(run.stdout.includes(`"${symbol}"`), run.stdout);
    scene.arrived(4);
  });
}

async function refusals(t: TestContext, scene: ClientScene): Promise<void> {
  await t.test("a wrong token, no token and a host outside the policy reach nobody", async () => {
    const url = `https://${HOSTS.fmp}${QUOTE}`;
    const wrong = await curl(t, scene, ["--proxy", `http://app:wrong@${new URL(scene.origin).host}`, url]);
    const anonymous = await curl(t, scene, ["--proxy", scene.origin, url]);
    const absolute = await curl(t, scene, ["--proxy", scene.origin, `http://${HOSTS.fmp}${QUOTE}`]);
    const stranger = await curl(t, scene, ["https://elsewhere.example/"]);
    assert.deepEqual([wrong.connect, anonymous.status, absolute.status], [407, 407, 407]);
    assert.deepEqual([stranger.connect, stranger.status], [403, 0]);
    scene.arrived(0);
  });
}

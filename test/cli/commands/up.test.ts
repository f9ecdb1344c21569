import assert from "node:assert/strict";
import type { ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import type { Readable } from "node:stream";
import { describe, type TestContext, test } from "node:test";
import { type CliPlace, cliPlace, startCli } from "../../support/cli-process.ts";
import { freePortsIn } from "../../support/served-place.ts";

type Running = ChildProcessByStdio<null, Readable, Readable>;

/** A place whose daemon.yaml names ports that are free now. */
async function placeWithPorts(t: TestContext): Promise<CliPlace & { readonly port: number }> {
  const place = cliPlace(t);
  const made = await place.run(["--data", "elsewhere", "init"]);
  assert.equal(made.code, 0, made.all);
  return { ...place, port: await freePortsIn(place.config) };
}

/** Collects stdout until `pattern` is in it. */
async function untilPrinted(child: Running, pattern: RegExp): Promise<string> {
  let text = "";
  child.stdout.setEncoding("utf8");
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (pattern.test(text)) return text;
  }
  throw new Error(`ended without ${pattern}: ${text}`);
}

function hello(port: number, token: string): Promise<number> {
  const authorization = `Basic ${Buffer.from(`app:${token}`).toString("base64")}`;
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: "127.0.0.1",
      port,
      path: "http://demo.sidekey.test/hello",
      headers: { host: "demo.sidekey.test", "proxy-authorization": authorization },
    });
    outgoing.once("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    outgoing.once("error", reject);
    outgoing.end();
  });
}

describe("sidekey up", () => {
  test("the printed token works at once, the other commands see the daemon, Ctrl-C ends it with 0", async (t) => {
    const { dir, run, port } = await placeWithPorts(t);
    const child = startCli(t, dir, ["up"]);
    child.stderr.resume();
    const printed = await untilPrinted(child, /Ctrl-C stops\./);
    const token = /http:\/\/app:(skc_\w{10}_[\w-]{43})@127\.0\.0\.1:\d+ http:\/\/demo\.sidekey\.test\/hello$/m.exec(
      printed,
    );
    assert.equal(await hello(port, token?.[1] ?? ""), 200);
    const status = await run(["status", "--json"]);
    assert.equal(status.code, 0, status.all);
    const { pid, sealed, policy } = JSON.parse(status.stdout) as {
      pid: number;
      sealed: boolean;
      policy: { ok: boolean };
    };
    assert.deepEqual([pid, sealed, policy.ok], [child.pid, false, true]);
    assert.equal((await run(["policy", "reload"])).code, 0);
    const second = await run(["serve"]);
    assert.equal(second.code, 1);
    assert.doesNotMatch(second.stderr, /internal error/);
    const followed = startCli(t, dir, ["requests", "--follow", "--json"]);
    const seen = untilPrinted(followed, /\n/);
    const url = "https://demo.sidekey.test/hello";
    const script = `fetch("${url}").then((r) => console.log(r.status))`;
    const ran = await run(["run", "--", process.execPath, "-e", script]);
    assert.equal(ran.stdout, "200\n", ran.all);
    const { client, route, outcome } = JSON.parse(await seen) as Record<string, string>;
    assert.deepEqual([client, route, outcome], ["app", "demo", "ok"]);
    child.kill("SIGINT");
    assert.deepEqual(await once(child, "exit"), [0, null]);
    const usage = JSON.parse((await run(["usage", "--by", "client", "--json"])).stdout) as {
      key: string;
      requests: number;
    }[];
    assert.deepEqual(
      usage.map((row) => [row.key, row.requests]),
      [["app", 2]],
    );
    const again = startCli(t, dir, ["up"]);
    again.stderr.resume();
    assert.doesNotMatch(await untilPrinted(again, /Ctrl-C stops\./), /skc_/);
  });
});

import assert from "node:assert/strict";
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

const POLICY = `version: 1
unmatched: deny
clients:
  app: { token: true }
routes:
  demo:
    provider: demo
    credentials: [demo-main]
    clients: [app]
    allow: [ { methods: [GET], paths: [/hello] } ]
    limits: [ { name: rate, per: [client], requests: 60/min, burst: 20, wait: 1s } ]
`;

describe("sidekey policy", () => {
  test("the sample policy is valid and warns about each key that is still missing", async (t) => {
    const { run } = await initializedPlace(t);
    const checked = await run(["policy", "check"]);
    assert.equal(checked.code, 0, checked.all);
    assert.equal(checked.stdout, "ok    config/policy.yaml: routes 9, clients 1\n");
    const missing = [...checked.stderr.matchAll(/^warning: config\/policy\.yaml:\d+:\d+ routes\.([a-z-]+)\./gm)];
    const routes = ["fmp", "taapi", "alpha-vantage", "polygon", "alpaca", "openai", "anthropic", "gemini"];
    assert.deepEqual(
      missing.map((match) => match[1]),
      routes,
    );
  });

  test("check prints every problem with its place and exits 1", async (t) => {
    const { run, config } = await initializedPlace(t);
    writeFileSync(join(config, "policy.yaml"), POLICY.replace("60/min", "60").replace("[GET]", "[get]"));
    const checked = await run(["policy", "check"]);
    assert.equal(checked.code, 1);
    assert.match(checked.stdout, /^fail {2}config\/policy\.yaml:10:\d+ routes\.demo\.allow\[0\]\.methods\[0\]: /m);
    assert.match(checked.stdout, /^fail {2}config\/policy\.yaml:11:\d+ routes\.demo\.limits\[0\]\.requests: /m);
    assert.match(checked.stderr, /^2 problems; a running daemon keeps its last good policy$/m);
    const json = JSON.parse((await run(["policy", "check", "--json"])).stdout) as { ok: boolean; problems: unknown[] };
    assert.deepEqual([json.ok, json.problems.length], [false, 2]);
  });

  test("check warns of a limit in dollars whose provider has no price; a bad price file has none", async (t) => {
    const { run, config } = await initializedPlace(t);
    const prices = join(config, "prices.yaml");
    const budget = "limits: [ { name: day, per: [client], usd: 5/day } ]";
    writeFileSync(join(config, "policy.yaml"), POLICY.replace(/limits: .*/, budget));
    const warned = async (): Promise<string | undefined> => {
      const checked = await run(["policy", "check"]);
      assert.equal(checked.code, 0, checked.all);
      return /^warning: config\/policy\.yaml:11:\d+ routes\.demo\.limits\[0\]\.usd: (.*)$/m.exec(checked.stderr)?.[1];
    };
    assert.match((await warned()) ?? "", /^calls of demo are free by the price table, /);
    const model = "{ names: [m], prices: [{ from: 2026-01-01, request: 1 }] }";
    writeFileSync(prices, `version: 1\ntable: t\nproviders: { demo: { models: [${model}] } }\n`);
    assert.equal(await warned(), undefined);
    appendFileSync(prices, "more: 1\n");
    assert.match((await warned()) ?? "", /^the price table has no prices of demo, so this limit denies every call; /);
    rmSync(prices);
    assert.match((await warned()) ?? "", /^the price table has no prices of demo, /);
  });

  test("explain says rule by rule what would happen", async (t) => {
    const { run, config } = await initializedPlace(t);
    writeFileSync(join(config, "policy.yaml"), POLICY);
    const allowed = await run(["policy", "explain", "http://demo.sidekey.test/hello"]);
    assert.equal(allowed.code, 0, allowed.all);
    const rules = [...allowed.stdout.matchAll(/^ok {4}([a-z]+)/gm)].map((match) => match[1]);
    assert.deepEqual(rules, ["host", "port", "client", "path", "method", "credential", "limit"]);
    assert.match(allowed.stdout, /^allowed by route demo$/m);
    const denied = await run(["policy", "explain", "https://demo.sidekey.test/other?key=x", "--client", "app"]);
    assert.equal(denied.code, 1);
    assert.match(denied.stdout, /^fail {2}path /m);
    assert.match(denied.stdout, /^denied: not_allowed \(path_not_on_route\), nearest route demo$/m);
    assert.match((await run(["policy", "explain", "https://else.test/"])).stdout, /host_not_in_policy/);
    assert.equal((await run(["policy", "explain", "demo.sidekey.test"])).code, 2);
    const json = await run(["policy", "explain", "https://demo.sidekey.test/a/../hello", "--json"]);
    assert.equal((JSON.parse(json.stdout) as { reason: string }).reason, "path_ambiguous");
  });

  test("test runs fixtures, prints a table and exits 1 when one is not as expected", async (t) => {
    const { run, config, dir } = await initializedPlace(t);
    writeFileSync(join(config, "policy.yaml"), POLICY);
    const file = join(dir, "fixtures.yaml");
    writeFileSync(
      file,
      `- { name: hello, url: "https://demo.sidekey.test/hello", expect: allow, route: demo }
- { name: post, url: "https://demo.sidekey.test/hello", method: POST, expect: deny, reason: method_not_on_route }
`,
    );
    const passed = await run(["policy", "test", file]);
    assert.equal(passed.code, 0, passed.all);
    assert.equal(
      passed.stdout,
      [
        "      NAME   EXPECTED                  GOT",
        "pass  hello  allow (demo)              allow (demo)",
        "pass  post   deny method_not_on_route  deny method_not_on_route (demo)",
        "2 of 2 as expected",
        "",
      ].join("\n"),
    );
    appendFileSync(file, `- { name: wrong, url: "https://else.test/", client: nobody, expect: allow }\n`);
    const failed = await run(["policy", "test", file]);
    assert.equal(failed.code, 1);
    assert.match(failed.stdout, /^FAIL {2}wrong {2}allow {21}deny host_not_in_policy$/m);
    appendFileSync(file, "- { name: bad, url: x, expects: allow }\n");
    const broken = await run(["policy", "test", file]);
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /fixtures\.yaml:4 /);
  });

  test("the sample policy of the package names the same credentials as credential add does", () => {
    const sample = readFileSync(join(import.meta.dirname, "../../../config/policy.yaml"), "utf8");
    for (const [, provider, credential] of sample.matchAll(
      /provider: (\S+)\n(?: {4}environment: \S+\n)? {4}credentials: \[(\S+)\]/g,
    )) {
      assert.equal(credential, `${provider}-main`);
    }
  });
});

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type CliPlace, initializedPlace } from "../../support/cli-process.ts";
import { type ReceivedRequest, type StandInAnswer, startStandIn } from "../../support/stand-in.ts";

const KEY = "abcdefghijklmnopqrstuvwxyz012345";
const HOST = "financialmodelingprep.com";
const ADD = ["credential", "add", "fmp", "--stdin"];

/** A place whose fmp is a stand-in over TLS; the answer may be changed as the test goes on. */
async function scene(
  t: TestContext,
): Promise<{ place: CliPlace; answer: (next: StandInAnswer) => void; seen: readonly ReceivedRequest[] }> {
  let answer: StandInAnswer = { body: "[]" };
  const provider = await startStandIn(t, { hostnames: [HOST], handler: () => answer });
  const place = await initializedPlace(t);
  writeFileSync(join(place.dir, "ca.pem"), provider.caPem);
  const file = join(place.config, "daemon.yaml");
  const entry = `hosts: { ${HOST}: { address: "127.0.0.1:${provider.port}", ca: ./ca.pem } }`;
  writeFileSync(file, readFileSync(file, "utf8").replace(/hosts: \{\}/, entry));
  return {
    place,
    answer: (next) => {
      answer = next;
    },
    seen: provider.requests,
  };
}

describe("sidekey credential validate", () => {
  test("asks the provider with the key, tells the verdict and keeps it for show and list", async (t) => {
    const { place, seen, answer } = await scene(t);
    const added = await place.run(ADD, { input: KEY });
    assert.equal(added.code, 0, added.all);
    assert.match(added.stderr, /checked: GET \/stable\/quote answered 200: the key is accepted/);
    assert.equal(seen[0]?.target, `/stable/quote?symbol=AAPL&apikey=${KEY}`);
    const valid = await place.run(["credential", "validate", "fmp-main"]);
    assert.equal(valid.code, 0, valid.all);
    assert.match(valid.stdout, /^fmp-main version 1: valid\n {2}GET \/stable\/quote answered 200/);
    answer({ status: 401, body: `{"Error Message":"Invalid API KEY ${KEY}."}` });
    const invalid = await place.run(["credential", "validate", "fmp-main", "--json"]);
    assert.equal(invalid.code, 1, invalid.all);
    const told = JSON.parse(invalid.stdout);
    assert.deepEqual([told.meaning, told.state, told.status, told.version], ["invalid", "invalid", 401, 1]);
    const shown = await place.run(["credential", "show", "fmp-main"]);
    assert.match(shown.stdout, /^health +invalid$/m);
    assert.match(shown.stdout, /command +invalid +401/);
    assert.match(shown.stdout, /add +valid +200/);
    assert.match((await place.run(["credential", "list"])).stdout, /^fmp-main .* invalid /m);
    assert.equal(
      JSON.parse((await place.run(["credential", "list", "--json"])).stdout).find(
        (each: { name: string }) => each.name === "fmp-main",
      ).health,
      "invalid",
    );
    assert.equal(
      JSON.parse((await place.run(["credential", "show", "fmp-main", "--json"])).stdout).health.checks.length,
      3,
    );
    const enabled = await place.run(["credential", "enable", "fmp-main"]);
    assert.equal(enabled.code, 0, enabled.all);
    assert.match((await place.run(["credential", "show", "fmp-main"])).stdout, /^health +unknown$/m);
    for (const output of [added, valid, invalid, shown]) assert.ok(!output.all.includes(KEY));
  });

  test("what could not be told is no success and says why", async (t) => {
    const { place, answer } = await scene(t);
    await place.run([...ADD, "--no-validate"], { input: KEY });
    answer({ status: 500, body: "oops" });
    const broken = await place.run(["credential", "validate", "fmp-main"]);
    assert.equal(broken.code, 1);
    assert.match(broken.stdout, /could not be told\n {2}.*answered 500: this says nothing about the key/);
    answer({ status: 402, body: "Premium Query Parameter" });
    const plan = await place.run(["credential", "validate", "fmp-main"]);
    assert.equal(plan.code, 0);
    assert.match(plan.stdout, /valid, but its plan is too small/);
  });

  test("versions are chosen by number; what does not exist or cannot be used is refused", async (t) => {
    const { place } = await scene(t);
    await place.run(ADD, { input: KEY });
    await place.run([...ADD, "--pending"], { input: KEY.toUpperCase() });
    assert.match((await place.run(["credential", "validate", "fmp-main", "2"])).stdout, /version 2: valid/);
    assert.equal((await place.run(["credential", "validate", "fmp-main", "3"])).code, 4);
    assert.equal((await place.run(["credential", "validate", "fmp-main", "two"])).code, 2);
    assert.equal((await place.run(["credential", "validate", "nobody"])).code, 4);
    await place.run(["credential", "revoke", "fmp-main", "1"]);
    const revoked = await place.run(["credential", "validate", "fmp-main", "1"]);
    assert.equal(revoked.code, 1);
    assert.match(revoked.stderr, /version 1 of this credential is revoked/);
  });

  test("a key that the provider does not accept is not stored, unless --no-validate", async (t) => {
    const { place, answer, seen } = await scene(t);
    answer({ status: 401, body: '{"Error Message":"Invalid API KEY."}' });
    const refused = await place.run(ADD, { input: KEY });
    assert.equal(refused.code, 1, refused.all);
    assert.match(refused.stderr, /fmp does not accept this key: GET \/stable\/quote answered 401/);
    assert.match(refused.stderr, /--no-validate/);
    assert.equal((await place.run(["credential", "show", "fmp-main"])).code, 4);
    const before = seen.length;
    assert.equal((await place.run([...ADD, "--no-validate"], { input: KEY })).code, 0);
    assert.equal(seen.length, before);
  });

  test("a provider that cannot be reached only warns, and soon", async (t) => {
    const place = await initializedPlace(t);
    const startedAt = performance.now();
    const added = await place.run(ADD, { input: KEY });
    assert.equal(added.code, 0, added.all);
    assert.match(added.stderr, /warning: stored unchecked: no answer to the check/);
    assert.ok(performance.now() - startedAt < 15_000);
    const unknown = await place.run(["credential", "validate", "fmp-main"]);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stdout, /could not be told/);
  });

  test("the demo's key is not asked about outside of the daemon", async (t) => {
    const place = await initializedPlace(t);
    const demo = await place.run(["credential", "validate", "demo-main"]);
    assert.equal(demo.code, 1, demo.all);
    assert.match(demo.stdout, /demo provider answers inside the daemon only/);
  });
});

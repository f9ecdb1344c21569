import assert from "node:assert/strict";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";
import { FMP_KEY } from "../../support/submission-fixture.ts";

interface Finding {
  readonly name: string;
  readonly mark: string;
  readonly text: string;
}

test("doctor finds what was broken, names the next step and still makes the other checks", async (t) => {
  const { run, data, config } = await initializedPlace(t);
  const healthy = JSON.parse((await run(["doctor", "--json"])).stdout) as Finding[];
  // Ports may be taken on the machine that runs this; all else must be in order.
  assert.deepEqual(
    healthy.filter(({ name, mark }) => mark === "fail" && name !== "ports"),
    [],
  );
  chmodSync(join(data, "vault.db"), 0o644);
  rmSync(join(data, "ca.pem"));
  writeFileSync(join(config, "policy.yaml"), "version: 2\n");
  const env = { NODE_TLS_REJECT_UNAUTHORIZED: "0", SSLKEYLOGFILE: join(data, "keys") };
  const broken = await run(["doctor", "--json"], { env });
  assert.equal(broken.code, 1);
  const failed = (JSON.parse(broken.stdout) as Finding[]).filter(({ mark }) => mark === "fail");
  const said = (name: string, pattern: RegExp): boolean =>
    failed.some((one) => one.name === name && pattern.test(one.text));
  assert.ok(said("environment", /NODE_TLS_REJECT_UNAUTHORIZED .*unset it/), broken.stdout);
  assert.ok(said("environment", /SSLKEYLOGFILE/));
  assert.ok(said("modes", /chmod 600 .*vault\.db/));
  assert.ok(said("ca", /ca\.pem is missing.*sidekey init/));
  chmodSync(join(data, "vault.db"), 0o600);
  assert.match((await run(["doctor"])).stdout, /^fail {2}policy +config\/policy\.yaml:1 version: /m);
});

test("doctor says which listed submissions are accepted and why others are not, and changes nothing", async (t) => {
  const { run, config, dir } = await initializedPlace(t);
  await run(["vault", "public-key", "--out", "keys"]);
  for (const name of ["fmp-one", "fmp-two"]) {
    const out = join(config, `${name}.sealed`);
    const args = ["seal", "fmp", "--public-key", "keys", "--stdin", "--name", name, "--out", out];
    assert.equal((await run(args, { input: FMP_KEY })).code, 0);
  }
  await run(["credential", "accept", join("config", "fmp-one.sealed"), "--yes"]);
  writeFileSync(join(config, "bad.sealed"), "hello");
  const entries = ["fmp-one", "fmp-two", "bad"].map((name) => `{ file: ./${name}.sealed }`);
  writeFileSync(join(config, "credentials.yaml"), `version: 1\nsubmissions: [ ${entries.join(", ")} ]\n`);
  const { stdout } = await run(["doctor"]);
  assert.match(stdout, /^ok {4}submissions +listed: 3, accepted: 1$/m);
  assert.match(stdout, /^warn {2}submissions +\.\/bad\.sealed: this is no sealed submission/m);
  assert.equal((await run(["credential", "show", "fmp-two"])).code, 4);
  assert.ok(!(await run(["audit", "list"])).stdout.includes("submission.refuse"));
  writeFileSync(join(dir, "config", "credentials.yaml"), "version: 1\nsubmissions: 7\n");
  assert.match((await run(["doctor"])).stdout, /^fail {2}submissions +credentials\.yaml:2 submissions/m);
});

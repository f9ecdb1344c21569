import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

test("show and export give the root without opening the vault; init writes lost files again", async (t) => {
  const { run, data } = await initializedPlace(t);
  rmSync(join(data, "root.key"), { force: true });
  const exported = await run(["ca", "export"]);
  assert.equal(exported.stdout, readFileSync(join(data, "ca.pem"), "utf8"));
  assert.ok((await run(["ca", "export", "--bundle"])).stdout.includes(exported.stdout.trim()));
  const shown = JSON.parse((await run(["ca", "show", "--json"])).stdout) as { commonName: string; fingerprint: string };
  assert.match(shown.commonName, /^sidekey root /);
  assert.match((await run(["ca", "show"])).stdout, new RegExp(`^sha-256 +${shown.fingerprint}$`, "m"));
  rmSync(join(data, "ca-bundle.pem"));
  const missing = await run(["ca", "show"]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /sidekey init/);
});

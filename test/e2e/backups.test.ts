import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { restore } from "../support/backup-fixture.ts";
import { pause } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import { tempDir } from "../support/temp-dir.ts";
import { formClient } from "./form-client.ts";
import { HOST, oneRoute } from "./one-route.ts";

test("a daemon backs itself up while it serves, and what it made restores", { timeout: 30_000 }, async (t) => {
  const to = join(tempDir(t), "backups");
  const provider = await startStandIn(t, {
    hostnames: [HOST],
    handler: () => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
  });
  const backup = { to, everyMs: 60_000, keep: 2, with: ["usage"] as const };
  const sidekey = await oneRoute(t, provider, "", { config: { backup } });
  const client = formClient(t, "absolute", sidekey);
  const deadline = performance.now() + 20_000;
  let served = 0;
  const made = (): string[] => (existsSync(to) ? readdirSync(to).filter((name) => name.endsWith(".backup")) : []);
  while (made().length === 0 && performance.now() < deadline) {
    assert.equal((await client.ask()).status, 200);
    served++;
    await pause(5);
  }
  const [name = "none was made"] = made();
  assert.match(name, /^sidekey-/);
  while (!sidekey.log().includes('"msg":"backup"') && performance.now() < deadline) await pause(10);
  const line = sidekey
    .log()
    .split("\n")
    .find((each) => each.includes('"msg":"backup"'));
  assert.equal((JSON.parse(line ?? "{}") as { path?: string }).path, join(to, name));
  const metrics = await (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
  const seconds = Number(/^sidekey_backup_last_success_timestamp_seconds ([0-9.]+)$/m.exec(metrics)?.[1]);
  assert.ok(Math.abs(seconds - Date.now() / 1000) < 60, metrics.match(/sidekey_backup.*/)?.[0]);
  assert.ok(served > 0);
  const key = { kind: "file", path: join(sidekey.dataDir, "root.key") } as const;
  const { check, manifest } = await restore(join(to, name), join(tempDir(t), "data"), [key]);
  assert.deepEqual([check.credentials, check.opened], [1, 1]);
  assert.deepEqual(
    manifest.files.map((file) => file.name),
    ["vault.db", "audit.anchor", "usage.db"],
  );
});

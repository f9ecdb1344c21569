import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Backups, startBackups } from "../../../src/daemon/monitor/backups.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { fill, newVault, START_MS, type VaultFixture } from "../../support/vault-fixture.ts";

const HOUR_MS = 3_600_000;

interface Scene extends VaultFixture {
  readonly to: string;
  readonly config: string;
  readonly alerts: string[];
  /** the schedule's clock, in ms since the epoch */
  clock: number;
  start(keep?: number): Backups;
  made(): string[];
  /** what the metric says, in ms; NaN when it is absent */
  lastBackupAt(): number;
}

async function scene(t: TestContext): Promise<Scene> {
  const fixture = await newVault(t);
  fill(fixture.vault);
  const [place, config] = [tempDir(t), tempDir(t)];
  const to = join(place, "backups");
  const observed: { lastBackupSeconds?: () => number | undefined } = {};
  const made: Scene = {
    ...fixture,
    to,
    config,
    alerts: [],
    clock: START_MS,
    lastBackupAt: () => (observed.lastBackupSeconds?.() ?? Number.NaN) * 1000,
    made: () => readdirSync(to).sort(),
    start: (keep = 3) => {
      const backups = startBackups({
        vault: fixture.vault,
        config: { dataDir: fixture.directory, configDir: config },
        schedule: { to, everyMs: HOUR_MS, keep, with: ["usage", "config"] },
        alerts: {
          raise: (kind, object, severity, message) => made.alerts.push(`${severity} ${kind} ${object}: ${message}`),
          clear: (kind) => made.alerts.push(`clear ${kind}`),
        },
        log: { info: () => {}, error: () => {} },
        metrics: { observe: (sources) => void Object.assign(observed, sources) },
        version: "test",
        now: () => made.clock,
      });
      t.after(() => backups.close());
      return backups;
    },
  };
  return made;
}

test("backups are made when they are due, and no more of them are kept than wanted", async (t) => {
  const one = await scene(t);
  const backups = one.start(3);
  assert.ok(Number.isNaN(one.lastBackupAt()));
  for (let hour = 0; hour < 5; hour++) {
    one.clock = START_MS + hour * HOUR_MS;
    await backups.check();
    const made = one.made();
    await backups.check();
    one.clock += HOUR_MS - 1;
    await backups.check();
    assert.deepEqual(one.made(), made, "one an hour");
    assert.equal(made.length, Math.min(hour + 1, 3));
    assert.equal(one.lastBackupAt(), START_MS + hour * HOUR_MS);
  }
  assert.match(one.made()[0] ?? "", /^sidekey-[0-9a-f]{8}-20260101T020000000Z\.backup$/);
  assert.deepEqual(new Set(one.alerts), new Set(["clear backup_failed", "clear backup_wrappers"]));
});

test("a restart goes on from the newest good backup, and a clock that was put back does not stop it", async (t) => {
  const one = await scene(t);
  const first = one.start();
  await first.check();
  await first.close();
  one.clock += HOUR_MS / 2;
  const second = one.start();
  await second.check();
  assert.equal(one.made().length, 1);
  assert.equal(second.lastSuccessAt(), START_MS);
  one.clock = START_MS - 24 * HOUR_MS;
  await second.check();
  assert.equal(one.made().length, 2);
});

test("a failure raises an alert, waits before the next try, deletes nothing, and is cleared by a success", async (t) => {
  const one = await scene(t);
  const backups = one.start(1);
  await backups.check();
  const good = one.made();
  one.clock += HOUR_MS;
  // A file where the directory was: as root, no mode would keep us out.
  const away = `${one.to}.away`;
  renameSync(one.to, away);
  writeFileSync(one.to, "");
  await backups.check();
  const raised = one.alerts.filter((alert) => alert.startsWith("critical backup_failed backup: no backup was made in"));
  assert.equal(raised.length, 1);
  await backups.check();
  assert.equal(one.alerts.filter((alert) => alert.startsWith("critical")).length, 1, "it waits");
  assert.equal(one.lastBackupAt(), START_MS);
  rmSync(one.to);
  renameSync(away, one.to);
  assert.deepEqual(one.made(), good);
  one.clock += 10 * 60_000;
  await backups.check();
  assert.equal(one.alerts.at(-2), "clear backup_wrappers");
  assert.equal(one.alerts.at(-1), "clear backup_failed");
  assert.equal(one.made().length, 1);
  assert.notDeepEqual(one.made(), good);
});

test("a sealed vault is waited for, and closing gives up what is being made without a trace", async (t) => {
  const one = await scene(t);
  one.vault.seal();
  const backups = one.start();
  await backups.check();
  assert.ok(!existsSync(one.to));
  await one.vault.unseal([one.unlocker]);
  const running = backups.check();
  await backups.close();
  await running;
  for (const directory of [one.directory, ...(existsSync(one.to) ? [one.to] : [])]) {
    assert.deepEqual(
      readdirSync(directory).filter((name) => /half|\.backup/.test(name)),
      [],
    );
  }
  assert.deepEqual(one.alerts, []);
});

test("the directory is made private, and usage and configuration are taken along", async (t) => {
  const one = await scene(t);
  mkdirSync(join(one.config, "providers"));
  writeFileSync(join(one.config, "policy.yaml"), "version: 1\n");
  await one.start().check();
  assert.equal(statSync(one.to).mode & 0o777, 0o700);
  const detail = one.vault.listAudit({ limit: 1 })[0]?.detail;
  assert.deepEqual(detail, { usage: true, files: 1 });
});

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { HealthTable } from "../../../src/daemon/monitor/health.ts";
import type { ProbeResult } from "../../../src/daemon/monitor/probe.ts";
import { nextSlot, Scheduler, type SchedulerOptions } from "../../../src/daemon/monitor/scheduler.ts";
import type { Credential } from "../../../src/store/credentials.ts";
import { openMonitorStore } from "../../../src/store/monitor.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { storedCredential } from "./stored-credential.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

interface Asked {
  readonly name: string;
  readonly version: number;
  readonly atMs: number;
}

function scene(
  t: TestContext,
  credentials: readonly Credential[] = [storedCredential()],
  options: Partial<SchedulerOptions> = {},
) {
  const store = openMonitorStore(tempDir(t));
  t.after(() => store.close());
  const clock = fakeClock();
  const now = () => clock.nowUs() / 1000;
  const asked: Asked[] = [];
  const failures: unknown[] = [];
  const told = { meaning: "valid" as ProbeResult["meaning"] };
  const health = new HealthTable(store, (error) => failures.push(error));
  let grants = 0;
  const scheduler = new Scheduler({
    health,
    probe: async ({ name }, version) => {
      asked.push({ name, version, atMs: now() });
      return { meaning: told.meaning, status: 200, detail: told.meaning, expiresAt: null };
    },
    grant: () => {
      grants++;
      return {
        release: () => {
          grants--;
        },
      };
    },
    credentials: () => credentials,
    byName: (name) => credentials.find((each) => each.name === name),
    canProbe: () => true,
    everyMs: 6 * HOUR,
    review: () => {},
    onFailure: (error) => failures.push(error),
    now,
    setTimer: clock.setTimer,
    ...options,
  });
  t.after(() => scheduler.close());
  /** Advances in steps that leave asynchronous checks time to end. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 1_000) {
      await clock.advance(Math.min(1_000, left));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { store, clock, now, asked, told, health, scheduler, failures, pass, grants: () => grants };
}

test("a new credential is checked within minutes but not at once, then once in each interval", async (t) => {
  const { asked, pass, now, grants, failures } = scene(t, undefined, { everyMs: 20 * MINUTE });
  const start = now();
  await pass(29_000);
  assert.equal(asked.length, 0);
  await pass(5 * MINUTE);
  assert.equal(asked.length, 1);
  await pass(2 * HOUR);
  const gaps = asked.slice(1).map(({ atMs }, n) => atMs - (asked[n]?.atMs ?? 0));
  assert.ok((gaps[0] ?? 0) >= 10 * MINUTE && (gaps[0] ?? 0) <= 31 * MINUTE, `first gap ${gaps[0]}`);
  for (const gap of gaps.slice(1)) assert.ok(Math.abs(gap - 20 * MINUTE) <= 2_000, `gap ${gap}`);
  assert.ok(asked.length >= 6, `${asked.length} checks since ${start}`);
  assert.equal(grants(), 0, "every grant is given back");
  assert.deepEqual(failures, []);
});

test("a thousand credentials are spread over the interval", () => {
  const every = 6 * HOUR;
  const buckets = new Array<number>(24).fill(0);
  for (let n = 0; n < 1_000; n++) {
    const at = nextSlot(`credential-${n}`, 0, every);
    assert.ok(at >= 0 && at < every);
    const bucket = Math.floor((at / every) * 24);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  for (const count of buckets) assert.ok(count > 15 && count < 90, `${buckets}`);
  assert.equal(nextSlot("x", nextSlot("x", 5, every), every), nextSlot("x", 5, every));
});

test("a storm of refusals asks the provider once, and a confirmed one takes the version out", async (t) => {
  const { asked, told, health, scheduler, pass } = scene(t);
  told.meaning = "invalid";
  for (let n = 0; n < 500; n++) scheduler.refused("main", 1);
  await pass(1_000);
  for (let n = 0; n < 500; n++) scheduler.refused("main", 1);
  await pass(5_000);
  assert.equal(asked.length, 1);
  assert.equal(health.usable("id-main", 1), false);
});

test("a suspicion that the provider does not confirm is dropped, and not raised again at once", async (t) => {
  const { asked, health, scheduler, pass } = scene(t);
  scheduler.refused("main", 1);
  await pass(1_000);
  assert.equal(health.get("id-main", 1)?.suspectSince, null);
  assert.equal(health.usable("id-main", 1), true);
  for (let n = 0; n < 100; n++) {
    scheduler.refused("main", 1);
    await pass(1_000);
  }
  assert.equal(asked.length, 1);
  await pass(30_000);
  scheduler.refused("main", 1);
  await pass(1_000);
  assert.equal(asked.length, 2);
});

test("while the provider cannot be asked the version stays in use, and it is tried again every minute", async (t) => {
  const { asked, told, health, scheduler, pass } = scene(t, undefined, { everyMs: null });
  told.meaning = "unknown";
  scheduler.refused("main", 1);
  await pass(3 * MINUTE + 5_000);
  assert.equal(asked.length, 4);
  assert.equal(health.usable("id-main", 1), true);
  told.meaning = "invalid";
  await pass(MINUTE);
  assert.equal(health.usable("id-main", 1), false);
});

test("a refused key is asked about again, and a good answer brings it back", async (t) => {
  const { told, health, scheduler, pass } = scene(t, undefined, { everyMs: null });
  told.meaning = "invalid";
  scheduler.refused("main", 1);
  await pass(10_000);
  assert.equal(health.usable("id-main", 1), false);
  told.meaning = "valid";
  await pass(14 * MINUTE);
  assert.equal(health.usable("id-main", 1), false);
  await pass(2 * MINUTE);
  assert.equal(health.usable("id-main", 1), true);
});

test("a check without room in the limits is put off, and nothing is asked meanwhile", async (t) => {
  let room = false;
  const grant = () => (room ? { release: () => {} } : { retryMs: 30_000 });
  const { asked, scheduler, pass } = scene(t, undefined, { grant });
  scheduler.refused("main", 1);
  await pass(29_000);
  room = true;
  await pass(500);
  assert.equal(asked.length, 0);
  await pass(3_000);
  assert.equal(asked.length, 1);
});

test("switched off, nothing is checked on a schedule", async (t) => {
  const { asked, pass } = scene(t, undefined, { everyMs: null });
  await pass(30 * MINUTE);
  assert.equal(asked.length, 0);
});

test("disabled credentials, other versions and unknown names are left alone", async (t) => {
  const versions = [
    { number: 1, stage: "previous", createdAt: 0, fingerprint: "" },
    { number: 2, stage: "current", createdAt: 0, fingerprint: "" },
    { number: 3, stage: "pending", createdAt: 0, fingerprint: "" },
  ] as const;
  const off = storedCredential({ name: "off", state: "disabled" });
  const { asked, scheduler, pass } = scene(t, [storedCredential({ versions }), off]);
  scheduler.refused("nobody", 1);
  await pass(10 * MINUTE);
  assert.deepEqual(
    asked.map(({ name, version }) => `${name} ${version}`),
    ["main 2"],
  );
});

test("a version in a ramp is asked about when traffic with it is refused", async (t) => {
  const versions = [
    { number: 1, stage: "current", createdAt: 0, fingerprint: "" },
    { number: 2, stage: "pending", createdAt: 0, fingerprint: "" },
  ] as const;
  const { told, health, scheduler, pass } = scene(t, [storedCredential({ versions })]);
  told.meaning = "invalid";
  scheduler.refused("main", 2);
  await pass(1_000);
  assert.deepEqual([health.usable("id-main", 1), health.usable("id-main", 2)], [true, false]);
});

test("where nobody can be asked a suspicion ends with the next success, and takes nothing out", async (t) => {
  const { asked, health, scheduler, pass, now } = scene(t, undefined, { canProbe: () => false });
  scheduler.refused("main", 1);
  await pass(10 * MINUTE);
  assert.equal(asked.length, 0);
  assert.notEqual(health.get("id-main", 1)?.suspectSince, null);
  assert.equal(health.usable("id-main", 1), true);
  health.answered("main", 1, now());
  await pass(1_000);
  assert.equal(health.get("id-main", 1)?.suspectSince, null);
});

test("a check that fails unforeseen is told and does not stop the others", async (t) => {
  const probe = async ({ name }: Credential): Promise<ProbeResult> => {
    if (name === "bad") throw new Error("unforeseen");
    return { meaning: "valid", status: 200, detail: "", expiresAt: null };
  };
  const { failures, health, scheduler, pass } = scene(t, [storedCredential({ name: "bad" }), storedCredential()], {
    probe,
  });
  scheduler.refused("bad", 1);
  await pass(6 * MINUTE);
  assert.ok(failures.length >= 1);
  assert.equal(health.get("id-main", 1)?.state, "valid");
});

test("slow providers hold up neither the review nor what other processes have written", async (t) => {
  const many = Array.from({ length: 20 }, (_, n) => storedCredential({ name: `c${n}` }));
  let asked = 0;
  let reviews = 0;
  const { pass } = scene(t, many, {
    probe: () => {
      asked++;
      return new Promise(() => {});
    },
    review: () => {
      reviews++;
    },
  });
  await pass(6 * MINUTE);
  assert.equal(asked, 4, "only so many at once");
  assert.equal(reviews, 360);
});

test("a review that fails is told and called again", async (t) => {
  const { failures, pass } = scene(t, undefined, {
    review: () => {
      throw new Error("unforeseen");
    },
  });
  await pass(3_000);
  assert.equal(failures.length, 3);
});

test("a restart in the middle of a check asks again", async (t) => {
  const { store, clock, now, scheduler, pass } = scene(t, undefined, { probe: () => new Promise(() => {}) });
  scheduler.refused("main", 1);
  await pass(1_000);
  scheduler.close();
  const health = new HealthTable(store, assert.ifError);
  let asked = 0;
  const again = new Scheduler({
    health,
    probe: async () => {
      asked++;
      return { meaning: "invalid", status: 401, detail: "", expiresAt: null };
    },
    grant: () => ({ release: () => {} }),
    credentials: () => [storedCredential()],
    byName: () => undefined,
    canProbe: () => true,
    everyMs: 6 * HOUR,
    review: () => {},
    onFailure: assert.ifError,
    now,
    setTimer: clock.setTimer,
  });
  t.after(() => again.close());
  await pass(2_000);
  assert.equal(asked, 1);
  assert.equal(health.usable("id-main", 1), false);
});

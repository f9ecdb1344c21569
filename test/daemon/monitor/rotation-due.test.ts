import assert from "node:assert/strict";
import { test } from "node:test";
import { DueNotices, dueNotice, providerMaxAgeMs } from "../../../src/daemon/monitor/rotation-due.ts";
import type { Provider } from "../../../src/providers/schema.ts";
import type { Credential } from "../../../src/store/credentials.ts";
import type { Vault } from "../../../src/store/vault.ts";

const DAY_MS = 86_400_000;
const DUE = 1_000 * DAY_MS;

test("a due date is announced 30, 14, 7 and 1 days before, and when it has passed", () => {
  const at = (daysLeft: number, maxAgeDays = 90) => dueNotice(DUE, maxAgeDays * DAY_MS, DUE - daysLeft * DAY_MS);
  const table: [number, number | null][] = [
    [31, null],
    [30.01, null],
    [30, 30],
    [14.5, 30],
    [14, 14],
    [7, 7],
    [1.1, 7],
    [1, 1],
    [0.001, 1],
    [0, 0],
    [-5, 0],
  ];
  for (const [left, expected] of table) assert.equal(at(left), expected, `${left} days before`);
});

test("a key with a short life is not announced in the first half of it", () => {
  const at = (daysLeft: number, maxAgeDays: number) => dueNotice(DUE, maxAgeDays * DAY_MS, DUE - daysLeft * DAY_MS);
  assert.equal(at(20, 20), null);
  assert.equal(at(8, 20), null);
  assert.equal(at(7, 20), 7);
  assert.equal(at(2, 2), null);
  assert.equal(at(1, 1), 1, "the last day is always announced");
});

test("a provider's greatest age is what its file says, if it says one", () => {
  const provider = (maxAge?: number) =>
    ({ rotation: { kind: "none", ...(maxAge === undefined ? {} : { maxAge }) } }) as unknown as Provider;
  assert.equal(providerMaxAgeMs(provider(90 * DAY_MS)), 90 * DAY_MS);
  assert.equal(providerMaxAgeMs(provider()), null);
  assert.equal(providerMaxAgeMs({ rotation: null } as Provider), null);
  assert.equal(providerMaxAgeMs(undefined), null);
});

test("alerts go with a credential that is disabled or gone", () => {
  const versions = [{ number: 1, stage: "current", createdAt: 0, fingerprint: "" }];
  const credential = { id: "i", name: "a", provider: "p", state: "enabled", versions } as unknown as Credential;
  let list: Credential[] = [credential];
  const told: string[] = [];
  const notices = new DueNotices({
    vault: { read: () => new Map() } as unknown as Vault,
    view: { list: () => list },
    provider: () => ({ rotation: { kind: "none", maxAge: 10 * DAY_MS } }) as unknown as Provider,
    alerts: {
      raise: (_, object, severity, message) => told.push(`${severity} ${object}: ${message}`),
      clear: (kind, object) => told.push(`clear ${kind} ${object}`),
    },
    now: () => 11 * DAY_MS,
  });
  notices.check();
  notices.check();
  assert.deepEqual(told.splice(0), [
    "critical credential:a: its rotation has been due since 1970-01-11; make a new key and run `sidekey credential rotate a`",
  ]);
  list = [{ ...credential, state: "disabled" }];
  notices.check();
  list = [credential];
  notices.check();
  list = [];
  notices.check();
  assert.deepEqual(
    told.map((text) => text.split(" ")[0]),
    ["clear", "critical", "clear"],
  );
});

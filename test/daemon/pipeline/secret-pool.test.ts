import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { type OpenFields, SecretPool, type Wanted } from "../../../src/daemon/pipeline/secret-pool.ts";
import type { InjectionPlan, Rendering } from "../../../src/providers/auth/plan.ts";
import { Secret } from "../../../src/secret.ts";

const RAW: Rendering = { encoding: "raw", fields: ["key"] };
const PERCENT: Rendering = { encoding: "percent", fields: ["key"] };
const ID: Rendering = { encoding: "raw", fields: ["id"] };
const HEADER: InjectionPlan = {
  headers: [
    { name: "x-key", prefix: "", suffix: "", render: RAW },
    { name: "x-id", prefix: "", suffix: "", render: ID },
  ],
  query: [],
  body: null,
};
const QUERY: InjectionPlan = { headers: [], query: [{ name: "apikey", render: PERCENT }], body: null };

function wanted(version: number, plan: InjectionPlan): Wanted {
  return { credentialId: "c1", version, plan, isSecret: () => true };
}

interface Opened {
  readonly calls: string[];
  readonly lent: Secret[];
}

/** A pool over a vault of one credential, and what that vault has given out. */
function poolOf(t: TestContext, idleMs: number, open?: OpenFields): { pool: SecretPool; opened: Opened } {
  const opened: Opened = { calls: [], lent: [] };
  const pool = new SecretPool((id, version) => {
    opened.calls.push(`${id} v${version}`);
    const fields = open?.(id, version) ?? fieldsOf("secret/one", "public-id");
    opened.lent.push(...fields.values());
    return fields;
  }, idleMs);
  t.after(() => pool.close());
  return { pool, opened };
}

function fieldsOf(key: string, id: string): Map<string, Secret> {
  return new Map([
    ["key", Secret.copyOf(Buffer.from(key))],
    ["id", Secret.copyOf(Buffer.from(id))],
  ]);
}

function text(secret: Secret): string {
  return secret.use((bytes) => bytes.toString());
}

test("a burst of exchanges opens a version once per plan, and the vault's own copies are wiped at once", (t) => {
  const { pool, opened } = poolOf(t, 10_000);
  const leases = Array.from({ length: 5 }, () => pool.acquire(wanted(1, HEADER)));
  assert.deepEqual(opened.calls, ["c1 v1"]);
  assert.ok(opened.lent.every((secret) => secret.wiped));
  for (const lease of leases)
    assert.deepEqual([text(lease.bytesFor(RAW)), text(lease.bytesFor(ID))], ["secret/one", "public-id"]);
  const other = pool.acquire(wanted(1, QUERY));
  assert.equal(text(other.bytesFor(PERCENT)), "secret%2Fone");
  pool.acquire(wanted(2, HEADER)).release();
  assert.deepEqual([pool.users("c1", 1), pool.users("c1", 2), pool.users("c2", 1)], [6, 0, 0]);
  assert.deepEqual(opened.calls, ["c1 v1", "c1 v1", "c1 v2"]);
  assert.equal(pool.size, 2);
});

test("G2 no-string: a secret is wiped once nobody has used it for the idle time, and not before", async (t) => {
  const { pool } = poolOf(t, 40);
  const [first, second] = [pool.acquire(wanted(1, HEADER)), pool.acquire(wanted(1, HEADER))];
  const secret = first.bytesFor(RAW);
  first.release();
  first.release();
  await pause(120);
  assert.equal(secret.wiped, false, "the second exchange still uses it");
  second.release();
  assert.equal(secret.wiped, false, "kept for the next of the burst");
  await pause(120);
  assert.deepEqual([secret.wiped, pool.size], [true, 0]);
});

test("clear and close wipe everything at once, also what is in use; later exchanges open anew", (t) => {
  const { pool, opened } = poolOf(t, 10_000);
  const lease = pool.acquire(wanted(1, HEADER));
  const secret = lease.bytesFor(RAW);
  pool.clear();
  assert.deepEqual([secret.wiped, pool.size], [true, 0]);
  const again = pool.acquire(wanted(1, HEADER));
  lease.release();
  assert.equal(text(again.bytesFor(RAW)), "secret/one");
  assert.equal(opened.calls.length, 2);
  pool.close();
  assert.equal(again.bytesFor(RAW).wiped, true);
});

test("when opening or rendering fails nothing is kept, and what was opened is wiped", (t) => {
  const sealed = poolOf(t, 10_000, () => {
    throw new Error("vault sealed");
  });
  assert.throws(() => sealed.pool.acquire(wanted(1, HEADER)), /vault sealed/);
  assert.equal(sealed.pool.size, 0);
  const incomplete = poolOf(t, 10_000, () => new Map([["key", Secret.copyOf(Buffer.from("k"))]]));
  assert.throws(() => incomplete.pool.acquire(wanted(1, HEADER)), /no field "id"/);
  assert.equal(incomplete.pool.size, 0);
  assert.ok(incomplete.opened.lent.every((secret) => secret.wiped));
});

test("a failed plan leaves the other plan of the same version usable", (t) => {
  const missing: InjectionPlan = {
    headers: [{ name: "x", prefix: "", suffix: "", render: { encoding: "raw", fields: ["nothing"] } }],
    query: [],
    body: null,
  };
  const { pool } = poolOf(t, 10_000);
  const lease = pool.acquire(wanted(1, HEADER));
  assert.throws(() => pool.acquire(wanted(1, missing)), /no field "nothing"/);
  assert.equal(text(lease.bytesFor(RAW)), "secret/one");
  assert.throws(() => lease.bytesFor(PERCENT), /internal/);
});

test("G7 no-leak: open secrets are blanked in a line, every time they occur; short ones and others' words stay", (t) => {
  const { pool } = poolOf(t, 10_000);
  const line = Buffer.from("a secret/one b secret/one c secret/on secret%2Fone public-id");
  assert.equal(pool.scrub(line), line, "nothing is open");
  pool.acquire(wanted(1, HEADER));
  pool.acquire(wanted(1, QUERY));
  assert.equal(pool.scrub(line).toString(), "a ********** b ********** c secret/on ************ *********");
  assert.ok(line.includes("secret/one"), "the caller's line is not changed");
  const clean = Buffer.from("nothing here");
  assert.equal(pool.scrub(clean), clean);
});

test("a secret made of asterisks does not make scrubbing endless", (t) => {
  const { pool } = poolOf(t, 10_000, () => fieldsOf("*".repeat(12), "short"));
  pool.acquire(wanted(1, HEADER));
  assert.equal(pool.scrub(Buffer.from(`x ${"*".repeat(30)} short`)).toString(), `x ${"*".repeat(30)} short`);
});

test("what may no longer be used is zeroed at once, also while an exchange holds it; the rest stays", (t) => {
  const { pool } = poolOf(t, 10_000);
  const [gone, kept] = [pool.acquire(wanted(1, HEADER)), pool.acquire(wanted(2, HEADER))];
  const secret = gone.bytesFor(RAW);
  pool.retain((id, version) => id === "c1" && version === 2);
  assert.deepEqual([secret.wiped, pool.size, text(kept.bytesFor(RAW))], [true, 1, "secret/one"]);
  gone.release();
  assert.equal(
    text(pool.acquire(wanted(1, HEADER)).bytesFor(RAW)),
    "secret/one",
    "opened anew when it may be used again",
  );
});

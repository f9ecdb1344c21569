import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import type { ShownRequest } from "../../../src/daemon/pipeline/tripwire.ts";
import { softRemove } from "../../../src/store/credential-removal.ts";
import { fields, newCredential } from "../../support/vault-fixture.ts";
import { KEYS, tripwireScene } from "./tripwire-scene.ts";

const said = (finding: { kind: string; value: { credential: string; version: number; stage: string } | null } | null) =>
  finding && `${finding.kind} ${finding.value?.credential ?? "-"} ${finding.value?.version} ${finding.value?.stage}`;

test("the value of every stored version is known, whatever its stage, and a key of nobody is foreign", async (t) => {
  const { bearer, vault, view, found, failures } = await tripwireScene(t);
  vault.write((transaction) => softRemove(transaction, "gone", 1e9, "ana"));
  view.refresh();
  assert.equal(said(bearer(KEYS.revoked)), "revoked_key_seen openai-main 1 revoked");
  assert.equal(said(bearer(KEYS.previous)), "stored_key_seen openai-main 2 previous");
  assert.equal(said(bearer(KEYS.current)), "stored_key_seen openai-main 3 current");
  assert.equal(said(bearer(KEYS.pending)), "stored_key_seen openai-main 4 pending");
  assert.equal(said(bearer(KEYS.removed)), "revoked_key_seen gone 1 removed");
  assert.equal(said(bearer(KEYS.bait)), "honeytoken_used bait 1 current");
  assert.equal(said(bearer(KEYS.foreign)), "foreign_key_seen - undefined undefined");
  assert.equal(found.length, 7);
  assert.deepEqual(bearer(KEYS.current), {
    kind: "stored_key_seen",
    client: "app",
    where: "ai",
    provider: "openai",
    place: "header authorization",
    value: { credential: "openai-main", version: 3, stage: "current", honeytoken: false },
  });
  assert.deepEqual(failures, []);
});

test("a key is seen in every place where the provider takes one, and on every route that has such a place", async (t) => {
  const { bearer, tripwire, shown } = await tripwireScene(t);
  const basic = `Basic ${Buffer.from(`${KEYS.current}:`).toString("base64")}`;
  const inspect = (changes: Partial<ShownRequest>) => said(tripwire.inspect(shown(changes)));
  const stored = "stored_key_seen openai-main 3 current";
  assert.equal(inspect({ fields: ["authorization", basic] }), stored);
  assert.equal(inspect({ fields: ["API_KEY", KEYS.current] }), stored);
  const protocols = `realtime, openai-insecure-api-key.${KEYS.current}, openai-beta.realtime-v1`;
  assert.equal(inspect({ fields: ["Sec-WebSocket-Protocol", protocols] }), stored);
  const fmp = { host: "financialmodelingprep.com", route: "data" };
  assert.equal(
    inspect({ ...fmp, query: `symbol=AAPL&apikey=${KEYS.bait.replace("-", "%2D")}` }),
    "honeytoken_used bait 1 current",
  );
  assert.equal(inspect({ ...fmp, query: `a=1;apikey=${KEYS.revoked}` }), "revoked_key_seen openai-main 1 revoked");
  assert.equal(
    inspect({ host: "api.taapi.io", route: "bulk", bodyKey: KEYS.previous }),
    "stored_key_seen openai-main 2 previous",
  );
  assert.equal(
    tripwire.inspect(shown({ host: "api.taapi.io", route: "bulk", bodyKey: KEYS.previous }))?.place,
    "body key",
  );
  // Not where a key belongs, so not looked at.
  assert.equal(inspect({ fields: ["X-Note", KEYS.current], query: `note=${KEYS.current}` }), null);
  assert.equal(bearer(KEYS.current, { host: "unknown.example", route: null }), null);
});

test("a credential of two fields is known only when both are there, in whatever order", async (t) => {
  const { tripwire, shown } = await tripwireScene(t);
  const inspect = (fields: readonly string[], query = "") =>
    said(tripwire.inspect(shown({ host: "paper-api.alpaca.markets", route: "trade", fields, query })));
  const [id, secret] = [
    ["APCA-API-KEY-ID", KEYS.alpacaId],
    ["APCA-API-SECRET-KEY", KEYS.alpacaSecret],
  ] as const;
  assert.equal(inspect([...id, ...secret]), "stored_key_seen alpaca-main 1 current");
  assert.equal(inspect([...secret, ...id]), "stored_key_seen alpaca-main 1 current");
  assert.equal(inspect([...id]), null);
  assert.equal(inspect([...secret]), null);
  assert.equal(inspect([...id, secret[0], `${KEYS.alpacaSecret}x`]), null);
  const basic = `Basic ${Buffer.from(`${KEYS.alpacaId}:${KEYS.alpacaSecret}`).toString("base64")}`;
  assert.equal(inspect(["Authorization", basic]), "stored_key_seen alpaca-main 1 current");
});

test("tokens of sidekey, placeholders and what is too short or too long are no keys", async (t) => {
  const { bearer, found, work, tripwire, shown } = await tripwireScene(t);
  for (const value of [
    `skc_abcdefghij_${"A".repeat(43)}`,
    "test",
    "dummy",
    "unused",
    "",
    `${KEYS.current}\u00e4`,
    `${KEYS.current} ${KEYS.current}`,
    `sk-${"x".repeat(5_000)}`,
  ]) {
    assert.equal(bearer(value), null, value.slice(0, 40));
  }
  assert.equal(work.fingerprints, 0, "none of these costs a fingerprint");
  for (const value of [
    "sk-placeholder",
    `sk-placeholder-${"abcdefghijklmnopqrstuvwxyz".repeat(2)}`,
    `sk-your-api-key-goes-here-0123456789abcdefghijklm`,
    `sk-${"0123".repeat(15)}`,
    `sk-${"x".repeat(50)}`,
    // Below the shape that the catalog has evidence for.
    "sk-abcdefghijklmnop",
    `pk-${"abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"}`,
  ]) {
    assert.equal(bearer(value), null, value);
  }
  const fmp = { host: "financialmodelingprep.com", route: "data" };
  assert.equal(tripwire.inspect(shown({ ...fmp, query: "apikey=demo" })), null);
  assert.equal(tripwire.inspect(shown({ ...fmp, query: "apikey=abcdefghijklmnopqrstuvwxyz01234" })), null);
  // What the catalog only supposes a key to look like proves nothing.
  const supposed = `eyJ${"hbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9".repeat(4)}.abc.def`;
  assert.equal(tripwire.inspect(shown({ host: "api.taapi.io", route: "bulk", bodyKey: supposed })), null);
  assert.deepEqual(found, []);
  assert.equal(
    tripwire.inspect(shown({ ...fmp, query: "apikey=abcdefghijklmnopqrstuvwxyz012345" }))?.kind,
    "foreign_key_seen",
  );
});

test("an ordinary request costs nothing, the same value again one digest, and no value more than its share", async (t) => {
  const { bearer, tripwire, shown, work } = await tripwireScene(t);
  tripwire.inspect(shown({ fields: ["Accept", "*/*", "User-Agent", "x"], query: "symbol=AAPL" }));
  assert.equal(work.fingerprints, 0);
  for (let n = 0; n < 50; n++) bearer(KEYS.current);
  const once = work.fingerprints;
  assert.ok(once >= 1 && once <= 3, `${once}`);
  const values = (n: number) => `sk-flood${n}`.padEnd(50, "abcdefghijklmnopqrstuvwxyz");
  for (let n = 0; n < 5_000; n++) bearer(values(n), { client: "batch" });
  assert.ok(work.fingerprints - once <= 100, `${work.fingerprints} fingerprints for 5000 values`);
  // What is not looked at is not called foreign either, and nobody else pays for it.
  assert.equal(bearer(KEYS.foreign, { client: "batch" }), null);
  assert.equal(bearer(KEYS.foreign)?.kind, "foreign_key_seen");
  assert.equal(bearer(KEYS.revoked)?.kind, "revoked_key_seen");
  assert.equal(bearer(KEYS.foreign, { client: "batch", atMs: 1_700_000_002_000 })?.kind, "foreign_key_seen");
});

test("a change of the vault counts at once", async (t) => {
  const { bearer, vault, view } = await tripwireScene(t);
  assert.equal(bearer(KEYS.pending)?.kind, "stored_key_seen");
  vault.revokeVersion("openai-main", 4, "ana");
  view.refresh();
  assert.equal(bearer(KEYS.pending)?.kind, "revoked_key_seen");
  assert.equal(bearer(KEYS.foreign)?.kind, "foreign_key_seen");
  vault.addVersion("openai-main", fields({ api_key: KEYS.foreign }), "pending", "ana");
  view.refresh();
  assert.equal(bearer(KEYS.foreign)?.kind, "stored_key_seen");
});

test("while the vault is sealed nothing is known, not even that a key is foreign", async (t) => {
  const { bearer, vault, view, failures } = await tripwireScene(t);
  vault.seal();
  assert.equal(bearer(KEYS.current), null, "the view has not noticed yet");
  assert.equal(bearer(KEYS.foreign), null);
  view.refresh();
  assert.equal(view.values, null);
  assert.equal(bearer(KEYS.current), null);
  assert.equal(bearer(KEYS.foreign), null);
  assert.deepEqual(failures, []);
});

test("a request of nobody known, or for no route, is told by its host", async (t) => {
  const { bearer } = await tripwireScene(t);
  const finding = bearer(KEYS.current, { client: null, route: null });
  assert.deepEqual([finding?.client, finding?.where, finding?.provider], [null, "api.openai.com", "openai"]);
});

test("a honeytoken among other values is told before them", async (t) => {
  const { tripwire, shown } = await tripwireScene(t);
  const fields = ["Authorization", `Bearer ${KEYS.current}`, "api-key", KEYS.bait];
  assert.equal(tripwire.inspect(shown({ fields }))?.kind, "honeytoken_used");
});

test("what was lent for a fingerprint is wiped", async (t) => {
  const { bearer, lent } = await tripwireScene(t);
  bearer(KEYS.current);
  bearer(KEYS.foreign);
  assert.ok(lent.length >= 2);
  assert.ok(lent.every((secret) => secret.wiped));
});

test("a vault that cannot be read is a failure that the request does not notice", async (t) => {
  const { bearer, vault, failures } = await tripwireScene(t);
  vault.close();
  assert.equal(bearer(KEYS.current), null);
  assert.equal(failures.length, 1);
});

const name = fc.constantFrom("authorization", "Api_Key", "sec-websocket-protocol", "cookie", "x", "");
const value = fc.oneof(
  fc.string({ maxLength: 60, unit: "binary" }),
  fc.constantFrom(...Object.values(KEYS)),
  fc.constantFrom(`Bearer ${KEYS.current}`, "Basic !!!", "Bearer ", ",,,,", `a.${KEYS.bait},b`),
);

test("whatever a client sends, it never throws, and costs a bounded number of fingerprints (property)", async (t: TestContext) => {
  const { tripwire, shown, work, failures, vault, view } = await tripwireScene(t);
  const three = fields({ consumer_key: "c", access_token: "a", access_secret: "s" });
  vault.addCredential(newCredential("three"), three, "ana");
  view.refresh();
  const keys = Object.values(KEYS).flatMap((key) => ["authorization", key]);
  tripwire.inspect(shown({ fields: keys.map((text) => text.replace("canary", "nobody")) }));
  assert.equal(work.fingerprints, 48, "of 6 alone, 30 pairs and 120 threes");
  let atMs = 1_700_000_000_000;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, value), { maxLength: 30 }),
      fc.string({ maxLength: 200 }),
      fc.option(value),
      (pairs, query, bodyKey) => {
        atMs += 2_000;
        const before = work.fingerprints;
        tripwire.inspect(shown({ fields: pairs.flat(), query: `api_key=${query}`, bodyKey, atMs }));
        assert.ok(work.fingerprints - before <= 48);
        assert.deepEqual(failures, []);
      },
    ),
  );
});

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Sightings } from "../../../../src/daemon/monitor/watch/sightings.ts";
import type { Finding } from "../../../../src/daemon/pipeline/tripwire.ts";
import { findCanary } from "../../../support/canary.ts";
import { KEYS, tripwireScene } from "../../pipeline/tripwire-scene.ts";
import { alertScene } from "../alert-scene.ts";

const REVOKED: Finding = {
  kind: "revoked_key_seen",
  client: "app",
  where: "fmp",
  provider: "fmp",
  place: "query apikey",
  value: { credential: "fmp-main", version: 2, stage: "revoked", honeytoken: false },
};
const DAY = 86_400_000;

test("each kind is an alert per client and route, and says what to do", (t) => {
  const { book, nowMs } = alertScene(t);
  const sightings = new Sightings(book);
  const stored = { credential: "fmp-main", version: 3, stage: "current", honeytoken: false } as const;
  const removed = { credential: "old", version: 1, stage: "removed", honeytoken: false } as const;
  sightings.found(REVOKED, nowMs());
  sightings.found({ ...REVOKED, client: "batch", value: removed }, nowMs());
  sightings.found({ ...REVOKED, kind: "stored_key_seen", value: stored }, nowMs());
  sightings.found({ ...REVOKED, kind: "foreign_key_seen", client: null, value: null }, nowMs());
  sightings.found(REVOKED, nowMs());
  assert.deepEqual(
    book.open().map(({ kind, object, severity, count, message }) => [kind, object, severity, count, message]),
    [
      [
        "revoked_key_seen",
        "client:app/fmp",
        "critical",
        2,
        "client app sent the key of fmp-main version 2 (query apikey, fmp), which is revoked; take it out of that service, and make sure that it is dead at the provider",
      ],
      [
        "revoked_key_seen",
        "client:batch/fmp",
        "critical",
        1,
        "client batch sent the key of old version 1 (query apikey, fmp), which is removed; take it out of that service, and make sure that it is dead at the provider",
      ],
      [
        "stored_key_seen",
        "client:app/fmp",
        "critical",
        1,
        "client app sent the key of fmp-main version 3 (query apikey, fmp), which is in use (current) and should be known to nobody but sidekey; take it out of that service and replace it with `sidekey credential rotate fmp-main`",
      ],
      [
        "foreign_key_seen",
        "client:?/fmp",
        "warning",
        1,
        "a client that is not known sent a key of fmp that is not stored here (query apikey, fmp); take it out of that service, and store it with `sidekey credential add` or end it at the provider",
      ],
    ],
  );
});

test("a honeytoken that was sent, or asked for, is one alert per client", (t) => {
  const { book, nowMs } = alertScene(t);
  const sightings = new Sightings(book);
  const bait = { credential: "bait", version: 1, stage: "current", honeytoken: true } as const;
  sightings.found({ ...REVOKED, kind: "honeytoken_used", value: bait }, nowMs());
  sightings.honeytoken({ credential: "bait", client: "app", route: "legacy", atMs: nowMs() });
  sightings.honeytoken({ credential: "bait", client: null, route: "legacy", atMs: nowMs() });
  assert.deepEqual(
    book.open().map(({ kind, object, severity, count }) => `${kind} ${object} ${severity} ${count}`),
    ["honeytoken_used credential:bait/? critical 1", "honeytoken_used credential:bait/app critical 2"],
  );
});

test("a day without another sighting closes it, and a restart does not tell it again", (t) => {
  const first = alertScene(t);
  new Sightings(first.book).found(REVOKED, first.nowMs());
  const again = first.restart();
  new Sightings(again.book).found(REVOKED, again.nowMs());
  assert.deepEqual(again.changes, []);
  again.pass(DAY - 1_000, 60_000);
  assert.equal(again.book.open().length, 1);
  again.pass(1_000);
  assert.deepEqual(again.book.open(), []);
});

test("nothing of what a client sent is in an alert, the log or monitor.db", async (t) => {
  const { bearer, found } = await tripwireScene(t);
  const { book, lines, changes, nowMs, dir } = alertScene(t);
  const sightings = new Sightings(book);
  for (const key of Object.values(KEYS)) bearer(key);
  assert.ok(found.length >= 6);
  for (const finding of found) sightings.found(finding, nowMs());
  book.close();
  const files = readdirSync(dir).map((name) => readFileSync(join(dir, name)));
  const everything = [...files, ...lines, ...changes, JSON.stringify([found, book.open()])];
  for (const text of Object.values(KEYS)) {
    assert.deepEqual(findCanary(everything, { text, bytes: Buffer.from(text) }), [], text);
  }
  // The search does find what is there.
  const [, known = ""] = book.open().map(({ message }) => message);
  assert.equal(findCanary([...files, known], { text: known, bytes: Buffer.from(known) }).length > 0, true);
});

import assert from "node:assert/strict";
import { copyFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BackupError } from "../../src/store/backup-error.ts";
import { PREFIX_BYTES } from "../../src/store/backup-format.ts";
import { authenticateBackup, backupName, listOwnBackups, pruneBackups } from "../../src/store/backup-retention.ts";
import { sha256 } from "../../src/store/crypto.ts";
import { backedUp, backUp } from "../support/backup-fixture.ts";
import { newVault, START_MS } from "../support/vault-fixture.ts";

test("only this vault's own whole backups are listed, newest first, and only those are ever deleted", async (t) => {
  const fixture = await backedUp(t);
  const { vault, place, path } = fixture;
  const name = (hours: number): string => join(place, backupName(vault.id, START_MS + hours * 3_600_000));
  for (const hours of [1, 2, 3, 4]) await backUp(fixture, name(hours));
  const other = await newVault(t);
  await backUp(other, join(place, backupName(other.vault.id, START_MS)));
  // Named like one of ours, each in its own way.
  await backUp(other, name(10));
  writeFileSync(name(11), "not a backup");
  copyFileSync(name(4), name(12));
  truncateSync(name(12), 50_000);
  const bytes = readFileSync(name(4));
  const at = bytes.indexOf('"epoch":1');
  bytes.write('"epoch":2', at, "latin1");
  const end = PREFIX_BYTES + bytes.readUInt32BE(PREFIX_BYTES - 4);
  sha256(bytes.subarray(0, end)).copy(bytes, end);
  writeFileSync(name(13), bytes);

  const found = await listOwnBackups(place, vault);
  assert.deepEqual(
    found.map((backup) => backup.path),
    [name(4), name(3), name(2), name(1)],
  );
  const before = readdirSync(place);
  assert.deepEqual(pruneBackups(found, 2), [name(2), name(1)]);
  const gone = before.filter((each) => !readdirSync(place).includes(each)).map((each) => join(place, each));
  assert.deepEqual(gone.sort(), [name(1), name(2)].sort());
  assert.ok(readdirSync(place).includes(path.slice(place.length + 1)));
  // Whatever is asked, the newest stays.
  assert.deepEqual(pruneBackups(found.slice(0, 1), 0), []);
  assert.deepEqual(await listOwnBackups(join(place, "nowhere"), vault), []);
});

test("a backup is authenticated to its last byte without being written anywhere", async (t) => {
  const { vault, path, place } = await backedUp(t);
  await authenticateBackup(path, vault);
  const broken = join(place, "broken");
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  writeFileSync(broken, bytes);
  await assert.rejects(authenticateBackup(broken, vault), (error) => {
    assert.ok(error instanceof BackupError);
    return error.code === "damaged";
  });
  const other = await newVault(t);
  await assert.rejects(authenticateBackup(path, other.vault), BackupError);
});

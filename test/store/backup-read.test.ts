import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { checkVault, openExtracted, verifyBackup } from "../../src/store/backup-check.ts";
import { BackupError } from "../../src/store/backup-error.ts";
import { CHECKSUM_BYTES, FILE_KEY_BYTES, PREFIX_BYTES } from "../../src/store/backup-format.ts";
import { openBackup, openBackupRoot } from "../../src/store/backup-read.ts";
import { aeadSeal, randomBytes, sha256 } from "../../src/store/crypto.ts";
import { VaultSealedError } from "../../src/store/errors.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";
import { backedUp, backUp, restore } from "../support/backup-fixture.ts";
import { tempDir } from "../support/temp-dir.ts";
import { editDatabase, newVault, passphrase } from "../support/vault-fixture.ts";

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Reads, opens and checks `bytes`; what `backup verify` does. */
async function verify(bytes: Buffer, unlockers: readonly Unlocker[], place: string) {
  const backup = await openBackup(once(bytes), "the backup");
  const opened = await openBackupRoot(backup, unlockers);
  try {
    return await verifyBackup(backup, opened, { place, sample: "all" });
  } finally {
    opened.root.wipe();
  }
}

async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof BackupError, String(error));
    assert.ok(error.message.includes(": "), error.message);
    return error.code;
  }
  return assert.fail("it was accepted");
}

/** Where each section of a backup begins, and its end. */
function sections(bytes: Buffer): Record<string, number> {
  const opening = PREFIX_BYTES + bytes.readUInt32BE(PREFIX_BYTES - 4);
  const key = opening + CHECKSUM_BYTES;
  const stream = key + FILE_KEY_BYTES;
  return {
    magic: 0,
    format: PREFIX_BYTES - 8,
    length: PREFIX_BYTES - 4,
    opening: PREFIX_BYTES,
    checksum: opening,
    key,
    header: stream,
    first: stream + 24,
    second: stream + 24 + 65_553,
    end: bytes.length,
  };
}

describe("a backup that was changed on its way", () => {
  it("is refused by name for a flipped bit in every part of it", async (t) => {
    const { path, unlocker, place } = await backedUp(t);
    const whole = readFileSync(path);
    assert.equal((await verify(whole, [unlocker], place)).check.opened, 4);
    const at = Object.entries(sections(whole));
    const reasons = new Map<string, Set<string>>();
    for (const [index, [name, from]] of at.slice(0, -1).entries()) {
      const to = at[index + 1]?.[1] ?? whole.length;
      for (const offset of new Set([from, from + 1, Math.floor((from + to) / 2), to - 17, to - 1])) {
        for (const bit of [0, 3, 7]) {
          if (offset < from || offset >= to) continue;
          const changed = Buffer.from(whole);
          changed[offset] = (changed[offset] ?? 0) ^ (1 << bit);
          const reason = await reasonOf(verify(changed, [unlocker], place));
          reasons.set(name, (reasons.get(name) ?? new Set()).add(reason));
        }
      }
    }
    const expected: Record<string, readonly string[]> = {
      magic: ["not_a_backup"],
      format: ["newer_format", "damaged"],
      length: ["damaged", "truncated"],
    };
    for (const [name, found] of reasons) {
      for (const reason of found) assert.ok((expected[name] ?? ["damaged"]).includes(reason), `${name}: ${reason}`);
    }
    assert.equal(reasons.size, at.length - 1);
    assert.deepEqual(
      readdirSync(place).filter((name) => name.endsWith(".half")),
      [],
    );
  });

  it("is refused as truncated at every length, and as damaged when something follows it", async (t) => {
    const { path, unlocker, place } = await backedUp(t);
    const whole = readFileSync(path);
    const cuts = Object.values(sections(whole)).flatMap((offset) => [offset - 1, offset, offset + 1]);
    for (const length of new Set([...cuts, 100, 40_000, whole.length - 18, whole.length - 17])) {
      if (length < 0 || length >= whole.length) continue;
      assert.equal(
        await reasonOf(verify(whole.subarray(0, length), [unlocker], place)),
        "truncated",
        `${length} bytes`,
      );
    }
    const longer = Buffer.concat([whole, Buffer.from("x")]);
    assert.equal(await reasonOf(verify(longer, [unlocker], place)), "damaged");
    assert.equal(await reasonOf(verify(Buffer.concat([whole, whole]), [unlocker], place)), "damaged");
    assert.equal(await reasonOf(verify(Buffer.from("PK\x03\x04 something else"), [unlocker], place)), "not_a_backup");
  });

  it("is refused when two backups of one vault are put together", async (t) => {
    const { vault, directory, options, path, unlocker, place } = await backedUp(t);
    const second = join(place, "two.backup");
    await backUp({ vault, directory, options }, second);
    const [one, two] = [readFileSync(path), readFileSync(second)];
    const [a, b] = [sections(one), sections(two)];
    for (const cut of ["key", "header", "first", "second"]) {
      const mixed = Buffer.concat([one.subarray(0, a[cut]), two.subarray(b[cut])]);
      assert.equal(await reasonOf(verify(mixed, [unlocker], place)), "damaged", cut);
    }
    const [first = 0, next = 0] = [a.first, a.second];
    const swapped = Buffer.concat([one.subarray(0, first), one.subarray(next), one.subarray(first, next)]);
    assert.equal(await reasonOf(verify(swapped, [unlocker], place)), "damaged");
  });

  it("is refused when somebody recomputes the checksum over other wrappers, another vault or another time", async (t) => {
    const { path, unlocker, place } = await backedUp(t);
    const whole = readFileSync(path);
    const { opening = 0, checksum = 0 } = sections(whole);
    const text = whole.toString("latin1", opening, checksum);
    const created = /"created_at":\d+/.exec(text)?.[0] ?? "";
    const edits: [string, string][] = [
      [created, created.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10))],
      ['"epoch":1', '"epoch":2'],
    ];
    for (const [from, to] of edits) {
      assert.ok(text.includes(from), from);
      const edited = Buffer.from(text.replaceAll(from, to), "latin1");
      const head = Buffer.concat([whole.subarray(0, opening), edited]);
      const forged = Buffer.concat([head, sha256(head), whole.subarray(checksum + CHECKSUM_BYTES)]);
      assert.equal(await reasonOf(verify(forged, [unlocker], place)), "damaged", to);
    }
  });
});

describe("a backup that is not for this reader", () => {
  it("is refused as made by a newer sidekey when its format or its schema is", async (t) => {
    const { path, unlocker, place } = await backedUp(t);
    const newer = readFileSync(path);
    newer.writeUInt32BE(2, PREFIX_BYTES - 8);
    assert.equal(await reasonOf(verify(newer, [unlocker], place)), "newer_format");
    const whole = readFileSync(path);
    const { opening = 0, checksum = 0 } = sections(whole);
    const text = whole.toString("latin1", opening, checksum).replace(/"schema":\d/, '"schema":9');
    const head = Buffer.concat([whole.subarray(0, opening), Buffer.from(text, "latin1")]);
    const schema = Buffer.concat([head, sha256(head), whole.subarray(checksum + CHECKSUM_BYTES)]);
    await assert.rejects(verify(schema, [unlocker], place), /newer format: its vault has schema 9/);
  });

  it("is refused as opened with the wrong key, telling what opens it", async (t) => {
    const { path, place } = await backedUp(t);
    const other = await newVault(t);
    const bytes = readFileSync(path);
    for (const unlocker of [other.unlocker, passphrase("correct horse")]) {
      await assert.rejects(verify(bytes, [unlocker], place), (error) => {
        assert.ok(error instanceof BackupError);
        assert.equal(error.code, "wrong_key");
        assert.match(`${error.message} ${error.nextStep}`, /wrong key.*opens with: file/s);
        return true;
      });
    }
    const missing: Unlocker = { kind: "file", path: join(place, "nowhere") };
    await assert.rejects(verify(bytes, [missing], place), VaultSealedError);
    await assert.rejects(verify(bytes, [], place), VaultSealedError);
  });

  it("opens with any wrapper of its vault, and with no other file than itself", async (t) => {
    const fixture = await newVault(t);
    const { vault, unlocker } = fixture;
    await vault.addWrapper(passphrase("correct horse"), [unlocker], "ana");
    const path = join(tempDir(t), "one.backup");
    const { wrappers } = await backUp(fixture, path);
    assert.deepEqual(wrappers.map(({ kind }) => kind).sort(), ["file", "passphrase"]);
    for (const each of [unlocker, passphrase("correct horse")]) {
      const data = join(tempDir(t), "data");
      const { check } = await restore(path, data, [each]);
      assert.equal(check.opened, check.versions);
      assert.ok(!existsSync(join(data, "root.key")));
    }
  });
});

describe("a genuine backup of a vault that does not hold together", () => {
  it("is refused as inconsistent, naming what is wrong", async (t) => {
    const { path, unlocker } = await backedUp(t);
    const edits: [(directory: string) => void, RegExp][] = [
      [(at) => editDatabase(at, (db) => db.exec("DELETE FROM versions WHERE number = 2")), /rows were deleted/],
      [(at) => editDatabase(at, (db) => db.exec("UPDATE audit SET actor = 'eve' WHERE seq = 3")), /entry 3 was edited/],
      [(at) => editDatabase(at, (db) => db.exec("DELETE FROM audit WHERE seq > 5")), /entr/],
      [(at) => writeFileSync(join(at, "vault.db"), randomBytes(8192)), /not a sidekey vault|damaged/],
    ];
    for (const [edit, problem] of edits) {
      const data = join(tempDir(t), "data");
      await restore(path, data, [unlocker]);
      edit(data);
      const backup = await openBackup(once(readFileSync(path)), "the backup");
      const opened = await openBackupRoot(backup, [unlocker]);
      const check = async (): Promise<void> => {
        const vault = await openExtracted(data, opened, {});
        try {
          checkVault(vault, "all");
        } finally {
          vault.close();
        }
      };
      await assert.rejects(check(), (error) => {
        assert.ok(error instanceof BackupError, String(error));
        assert.equal(error.code, "inconsistent");
        assert.match(error.message, problem);
        return true;
      });
      opened.root.wipe();
    }
  });

  it("is not accepted from somebody who can write files but has no key", async (t) => {
    const { path, unlocker, place } = await backedUp(t);
    const bytes = readFileSync(path);
    const { key = 0, checksum = 0 } = sections(bytes);
    // A file key of one's own, sealed under another key than the vault's.
    const forged = Buffer.from(bytes);
    aeadSeal(randomBytes(32), randomBytes(32), bytes.subarray(0, checksum + CHECKSUM_BYTES)).copy(forged, key);
    assert.equal(await reasonOf(verify(forged, [unlocker], place)), "damaged");
  });
});

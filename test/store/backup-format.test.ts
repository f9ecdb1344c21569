import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import SQLite from "better-sqlite3";
import { isContainedName } from "../../src/store/backup-format.ts";
import { sha256 } from "../../src/store/crypto.ts";
import { openRootKey, readStanzas } from "../../src/store/keyring.ts";
import { backedUp } from "../support/backup-fixture.ts";

describe("the format of a backup", () => {
  it("is what is written down: a second reader, made from the description alone, finds every byte", async (t) => {
    const { default: sodium } = await import("libsodium-wrappers");
    await sodium.ready;
    const { path, directory, unlocker, summary } = await backedUp(t);
    const bytes = readFileSync(path);
    assert.equal(bytes.toString("latin1", 0, 15), "sidekey backup\n");
    assert.equal(bytes.readUInt32BE(15), 1);
    let at = 23 + bytes.readUInt32BE(19);
    const opening = JSON.parse(bytes.toString("utf8", 23, at)) as Record<string, unknown>;
    assert.deepEqual(bytes.subarray(at, at + 32), sha256(bytes.subarray(0, at)));
    at += 32;
    const bound = bytes.subarray(0, at);

    const db = new SQLite(join(directory, "vault.db"), { readonly: true });
    const { root } = await openRootKey(readStanzas(db), [unlocker]);
    db.close();
    const backupKey = root.use((rk) => sodium.crypto_kdf_derive_from_key(32, 8, "skbackup", rk));
    root.wipe();
    const [nonce, sealed] = [bytes.subarray(at, at + 24), bytes.subarray(at + 24, at + 72)];
    const fileKey = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, sealed, bound, nonce, backupKey);
    at += 72;
    const stream = sodium.crypto_secretstream_xchacha20poly1305_init_pull(bytes.subarray(at, at + 24), fileKey);
    at += 24;
    const parts: Uint8Array[] = [];
    for (let last = false; !last; ) {
      const chunk = bytes.subarray(at, at + 65_536 + 17);
      const opened = sodium.crypto_secretstream_xchacha20poly1305_pull(stream, chunk, null);
      if (opened === false) return assert.fail(`the chunk at ${at} does not open`);
      parts.push(opened.message);
      last = opened.tag === sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL;
      at += chunk.length;
    }
    assert.equal(at, bytes.length);
    const plain = Buffer.concat(parts);
    assert.equal(plain.length, opening.stream);
    let end = 4 + plain.readUInt32BE();
    const manifest = JSON.parse(plain.toString("utf8", 4, end)) as {
      files: { name: string; bytes: number; sha256: string }[];
    };
    assert.deepEqual(manifest.files, summary.files);
    for (const file of manifest.files) {
      const content = plain.subarray(end, end + file.bytes);
      assert.equal(sha256(content).toString("hex"), file.sha256);
      if (file.name === "vault.db") assert.equal(content.toString("latin1", 0, 15), "SQLite format 3");
      end += file.bytes;
    }
    assert.equal(end, plain.length);
    const { vault, created_at, epoch, audit, schema, header, wrappers } = opening;
    assert.deepEqual(
      [vault, created_at, epoch, audit, schema],
      [...[summary.vault, summary.createdAt, summary.epoch, summary.audit, summary.schema]],
    );
    for (const column of ["epoch", "format", "mac", "vault"]) assert.ok(column in (header as object), column);
    assert.equal((wrappers as unknown[]).length, 1);
  });

  it("holds names that cannot lead out of the directory that it is restored into", () => {
    for (const good of ["vault.db", "audit.anchor", "usage.db", "config/policy.yaml", "config/providers/a-b.yaml"]) {
      assert.equal(isContainedName(good), true, good);
    }
    for (const bad of [
      "",
      "../vault.db",
      "config",
      "config/",
      "config/../x",
      "config/.x",
      "/etc/x",
      "config//x",
      "root.key",
      "config/a\0b",
      "daemon.sock",
    ]) {
      assert.equal(isContainedName(bad), false, bad);
    }
  });
});

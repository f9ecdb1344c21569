import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { copyOf, fill, newVault, note, refusedAs } from "../support/vault-fixture.ts";

/** DER of an Ed25519 public key up to the key itself (RFC 8410). */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

describe("checkpoint", () => {
  it("is a signed note that anybody can check with the verifier key", async (t) => {
    const { vault } = await newVault(t);
    fill(vault);
    const { note: text, verifierKey } = vault.checkpoint();
    const [name = "", keyId, typed = ""] = verifierKey.split("+", 2).concat(verifierKey.split("+").slice(2).join("+"));
    const [body = "", tail = ""] = text.split("\n\n");
    const [, signer, encoded = ""] = /^\u2014 (\S+) (\S+)\n$/.exec(tail) ?? [];
    assert.equal(signer, name);
    const signed = Buffer.from(encoded, "base64");
    assert.equal(signed.subarray(0, 4).toString("hex"), keyId);
    const key = createPublicKey({
      key: Buffer.concat([SPKI, Buffer.from(typed, "base64").subarray(1)]),
      format: "der",
      type: "spki",
    });
    assert.equal(verify(null, Buffer.from(`${body}\n`), key, signed.subarray(4)), true);
    const head = vault.verifyAudit();
    assert.ok(head.ok);
    const [origin, size, hash] = body.split("\n");
    assert.deepEqual([origin, size], [`sidekey/${vault.id}`, String(head.head.seq)]);
    assert.equal(Buffer.from(hash ?? "", "base64").toString("hex"), head.head.hash);
  });

  it("agrees with every later state of the vault, and with no older or other one", async (t) => {
    const { vault, directory, unlocker, options, reopen } = await newVault(t);
    fill(vault);
    vault.close();
    const old = copyOf(t, directory);
    const later = reopen();
    await later.unseal([unlocker]);
    note(later, "policy:2");
    const checkpoint = later.checkpoint().note;
    const anchor = readFileSync(join(directory, "audit.anchor"), "utf8");
    note(later, "policy:3");
    const log = `Jan  1 00:00:00 host sidekey: ${anchor}unrelated {"a":1}\n${readFileSync(join(directory, "audit.anchor"), "utf8")}`;
    assert.deepEqual(later.compare("checkpoint", checkpoint.replaceAll("\n", "\r\n")), { ok: true, records: 1 });
    assert.deepEqual(later.compare("anchor", log), { ok: true, records: 2 });
    const { openVault } = await import("../../src/store/vault.ts");
    const restored = openVault(old, options);
    t.after(() => restored.close());
    // The older database came with its own anchor: from inside nothing is wrong.
    await restored.unseal([unlocker]);
    assert.equal(restored.verifyAudit().ok, true);
    for (const [kind, text] of [
      ["checkpoint", checkpoint],
      ["anchor", anchor],
      ["anchor", log],
    ] as const) {
      const result = restored.compare(kind, text);
      assert.ok(!result.ok && result.kind === "rollback", kind);
      assert.match(result.problem, /went another way|are missing/);
    }
  });

  it("is refused with any byte changed, of another vault, and when it is something else", async (t) => {
    const { vault, directory } = await newVault(t);
    const { note: text } = vault.checkpoint();
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at++) {
      const bad = Buffer.from(bytes);
      bad[at] = (bad[at] ?? 0) ^ 1;
      if (bad.toString("utf8") === text) continue;
      assert.throws(() => vault.compare("checkpoint", bad.toString("utf8")), refusedAs("invalid"), `byte ${at}`);
    }
    const other = await newVault(t);
    const foreign = other.vault.checkpoint().note;
    assert.throws(() => vault.compare("checkpoint", foreign), refusedAs("invalid", /another vault/));
    for (const junk of ["", "{}", "\u2014", text.repeat(2)]) {
      assert.throws(() => vault.compare("checkpoint", junk), refusedAs("invalid"));
      assert.throws(() => vault.compare("anchor", junk), refusedAs("invalid", /no anchor of this vault/));
    }
    const anchor = readFileSync(join(directory, "audit.anchor"), "utf8");
    const edited = anchor.replace(/"seq":\d+/, '"seq":1');
    assert.throws(() => vault.compare("anchor", edited), refusedAs("invalid", /was edited/));
    const foreignAnchor = readFileSync(join(other.directory, "audit.anchor"), "utf8");
    assert.deepEqual(vault.compare("anchor", `${foreignAnchor}${anchor}`), { ok: true, records: 1 });
  });
});

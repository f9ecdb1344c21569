import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { canonicalBytes } from "../../src/store/canonical.ts";
import { dropGeneration, rotateCategory } from "../../src/store/categories.ts";
import { aeadSeal, boxSeal, randomBytes } from "../../src/store/crypto.ts";
import { SubmissionError, type SubmissionErrorCode, VaultSealedError } from "../../src/store/errors.ts";
import { encodeFields } from "../../src/store/field-bytes.ts";
import type { SubmissionKey } from "../../src/store/public-keys.ts";
import { getRows, putRow, type Row } from "../../src/store/rows.ts";
import { parseSubmission, renderSubmission } from "../../src/store/submission-text.ts";
import type { Vault } from "../../src/store/vault.ts";
import { FMP_KEY, keyOf, opened, sealed } from "../support/submission-fixture.ts";
import { fields, newVault, reveal } from "../support/vault-fixture.ts";

function refusal(vault: Vault, text: string): SubmissionErrorCode | null {
  try {
    opened(vault, text);
    return null;
  } catch (error) {
    assert.ok(error instanceof SubmissionError, String(error));
    return error.code;
  }
}

function setCategory(vault: Vault, change: Row): void {
  vault.write(({ db, keys, note }) => {
    const [row] = getRows<Row>(db, keys, "categories", { name: "market-data" });
    putRow(db, keys, "categories", { ...row, ...change });
    note({ actor: "ana", action: "category.rotate", object: "category:market-data", detail: {} });
  });
}

function plainOf(json: Buffer, encoded = encodeFields(fields({ a: "x" }))): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, encoded]);
}

/** Seals by hand what `sealSubmission` never would: the format's own description, in code. */
function forged(key: SubmissionKey, plain: Buffer): string {
  const { header } = parseSubmission(sealed(key));
  const dataKey = randomBytes(32);
  const content = aeadSeal(dataKey, plain, canonicalBytes({ ...header, format: 1, kind: "submission" }));
  return renderSubmission(header, Buffer.concat([Buffer.of(1), boxSeal(key.publicKey, dataKey), content]));
}

describe("a sealed submission", () => {
  it("opens in its vault with everything that was sealed, and twice sealed is twice different", async (t) => {
    const { vault } = await newVault(t);
    const key = keyOf(vault, "trading");
    const what = {
      provider: "alpaca",
      name: "alpaca-7",
      hosts: ["paper-api.alpaca.markets", "data.alpaca.markets", "data.alpaca.markets"],
      environment: "paper",
      owner: { kind: "user", id: "user-7" } as const,
      expires: Date.UTC(2030, 0, 1),
    };
    const values = { key_id: "PK1", secret_key: "s".repeat(200) };
    const text = sealed(key, what, values);
    const { details, fields: found, fingerprint } = opened(vault, text);
    assert.deepEqual(reveal(found), values);
    const { id, ...rest } = details;
    const { vault: vaultId, category, generation } = key;
    const hosts = ["data.alpaca.markets", "paper-api.alpaca.markets"];
    const created = "2026-01-01T00:00:00.000Z";
    assert.deepEqual(rest, { ...what, hosts, vault: vaultId, category, generation, created });
    assert.match(id, /^[0-9a-f]{32}$/);
    assert.match(fingerprint, /^[0-9a-f]{12}$/);
    assert.notEqual(sealed(key, what, values), text);
    for (const value of Object.values(values)) assert.ok(!text.includes(value));
  });

  it("is refused after any change of a bit, wherever it is", async (t) => {
    const { vault } = await newVault(t);
    const good = Buffer.from(sealed(keyOf(vault)));
    const codes = new Map<string, number>();
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const code = refusal(vault, bad.toString("latin1"));
      assert.notEqual(code, null, `bit ${bit} of ${good.length * 8}`);
      codes.set(String(code), (codes.get(String(code)) ?? 0) + 1);
    }
    const expected = [
      "damaged",
      "foreign_vault",
      "newer_format",
      "not_a_submission",
      "truncated",
      "unknown_generation",
    ];
    assert.deepEqual([...codes.keys()].sort(), expected);
  });

  it("is refused by name: another vault's, an unknown, a destroyed and a sealed category", async (t) => {
    const { vault } = await newVault(t);
    const other = await newVault(t);
    const key = keyOf(vault);
    assert.equal(refusal(other.vault, sealed(key)), "foreign_vault");
    const relabelled = { ...keyOf(other.vault), vault: vault.id };
    assert.equal(refusal(vault, sealed(relabelled)), "damaged");
    assert.equal(refusal(vault, sealed({ ...key, generation: 2 })), "unknown_generation");
    assert.equal(refusal(vault, sealed({ ...key, category: "unheard-of" })), "unknown_generation");
    assert.equal(refusal(vault, sealed({ ...keyOf(vault, "trading"), category: "market-data" })), "damaged");
    const text = sealed(key);
    setCategory(vault, { state: "disabled" });
    assert.equal(refusal(vault, text), "category_sealed");
    setCategory(vault, { state: "destroyed" });
    assert.equal(refusal(vault, text), "destroyed_key");
    setCategory(vault, { state: "enabled", generation: 2 });
    assert.equal(refusal(vault, text), "destroyed_key");
    vault.seal();
    assert.throws(() => opened(vault, text), VaultSealedError);
  });

  it("opens while the retired key generation that it was sealed to exists, and is refused by name afterwards", async (t) => {
    const { vault } = await newVault(t);
    const text = sealed(keyOf(vault));
    vault.write((transaction) => rotateCategory(transaction, "market-data", "ana"));
    assert.equal(reveal(opened(vault, text).fields).api_key, FMP_KEY);
    assert.equal(keyOf(vault).generation, 2);
    vault.write((transaction) => dropGeneration(transaction, "market-data", 1, "ana"));
    assert.throws(() => opened(vault, text), { code: "destroyed_key" });
  });

  it("is refused when a correctly sealed inside does not fit its outside, or is no description at all", async (t) => {
    const { vault } = await newVault(t);
    const key = keyOf(vault);
    const { details } = opened(vault, sealed(key));
    const json = (change: object) => canonicalBytes({ ...details, owner: { kind: "service" }, ...change } as never);
    assert.equal(refusal(vault, forged(key, plainOf(json({})))), null);
    for (const [name, value] of Object.entries({
      name: "alpaca-main",
      provider: "alpaca",
      hosts: ["attacker.example"],
      vault: "0".repeat(32),
      category: "trading",
      generation: 9,
      created: "2020-01-01T00:00:00.000Z",
    })) {
      assert.equal(refusal(vault, forged(key, plainOf(json({ [name]: value })))), "inconsistent", name);
    }
    const strange = [
      { owner: { kind: "admin" } },
      { expires: "soon" },
      { environment: "a\nb" },
      { extra: 1 },
      { id: 7 },
    ];
    for (const change of strange) {
      assert.equal(refusal(vault, forged(key, plainOf(json(change)))), "inconsistent", JSON.stringify(change));
    }
    for (const text of ["", "null", "[]", "{", "\xff"]) {
      assert.equal(refusal(vault, forged(key, plainOf(Buffer.from(text, "latin1")))), "inconsistent", text);
    }
    const long = Buffer.alloc(64);
    long.writeUInt8(1, 0);
    long.writeUInt16BE(9, 1);
    assert.equal(refusal(vault, forged(key, plainOf(json({}), long))), "inconsistent");
    assert.equal(refusal(vault, forged(key, plainOf(json({}), Buffer.alloc(0)))), "inconsistent");
    const past = Buffer.from(plainOf(json({})));
    past.writeUInt32BE(0xffffffff);
    for (const plain of [past, Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(4)]) {
      assert.equal(refusal(vault, forged(key, plain)), "inconsistent", `${plain.length} bytes`);
    }
  });

  it("cannot be made from another one's parts: header, data key and content belong together", async (t) => {
    const { vault } = await newVault(t);
    const key = keyOf(vault);
    const [one, two] = [parseSubmission(sealed(key)), parseSubmission(sealed(key, { name: "fmp-two" }))];
    assert.equal(refusal(vault, renderSubmission(two.header, one.body)), "damaged");
    const mixed = Buffer.concat([one.body.subarray(0, 81), two.body.subarray(81)]);
    assert.equal(refusal(vault, renderSubmission(one.header, mixed)), "damaged");
    for (const length of [0, 1, 80, 81, 100, one.body.length - 1]) {
      assert.equal(refusal(vault, renderSubmission(one.header, one.body.subarray(0, length))), "damaged", `${length}`);
    }
    const newer = Buffer.concat([Buffer.of(2), one.body.subarray(1)]);
    assert.equal(refusal(vault, renderSubmission(one.header, newer)), "damaged");
    assert.ok(!Buffer.from(sealed(key)).includes(FMP_KEY));
  });
});

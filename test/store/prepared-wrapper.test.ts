import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { Secret } from "../../src/secret.ts";
import { randomBytes } from "../../src/store/crypto.ts";
import { UnlockError, VaultSealedError, VaultTamperedError } from "../../src/store/errors.ts";
import { headerKeyOf, readWrappers } from "../../src/store/keyring.ts";
import {
  type PreparedWrapper,
  prepareShares,
  prepareWrapper,
  replaceShares,
  storeWrapper,
} from "../../src/store/prepared-wrapper.ts";
import { rewrapRootKey, type Unlocker, unwrapRootKey, type Wrapper } from "../../src/store/wrappers.ts";
import { STATIC_KEY, startAws } from "../support/aws-server.ts";
import { tempDir } from "../support/temp-dir.ts";
import { STATIC_TOKEN, startTransit } from "../support/transit-server.ts";
import {
  editDatabase,
  FAST_PASSPHRASE,
  newVault,
  passphrase,
  refusedAs,
  START_MS,
  type VaultFixture,
} from "../support/vault-fixture.ts";

interface EveryKind extends VaultFixture {
  readonly unlockers: readonly Unlocker[];
}

/** A vault that every kind of wrapper opens. */
async function everyKind(t: TestContext): Promise<EveryKind> {
  const fixture = await newVault(t);
  const directory = tempDir(t);
  const file = (name: string, content: string | Buffer): string => {
    writeFileSync(join(directory, name), content, { mode: 0o600 });
    return join(directory, name);
  };
  const [transit, aws] = [await startTransit(t), await startAws(t)];
  file("sidekey", randomBytes(32));
  const added: Unlocker[] = [
    passphrase("correct horse"),
    { kind: "systemd", name: "sidekey", directory },
    { kind: "exec", argv: ["/bin/cat", file("key", randomBytes(32))], environment: {} },
    transit.unlocker({ token: file("token", STATIC_TOKEN) }),
    aws.unlocker({ file: file("aws", `${STATIC_KEY.id}\n${STATIC_KEY.secret}`), profile: "default" }),
  ];
  for (const one of added) await fixture.vault.addWrapper(one, [fixture.unlocker], "ana");
  const made = await prepareShares(fixture.vault, [fixture.unlocker], { threshold: 2, count: 3 }, START_MS);
  const shares = () => made.shares.map((share) => share.use((bytes) => Secret.copyOf(bytes)));
  await replaceShares(fixture.vault, made, shares(), "ana");
  return { ...fixture, unlockers: [fixture.unlocker, ...added, { kind: "shares", read: async () => shares() }] };
}

function stanzasOf({ vault }: EveryKind): Wrapper[] {
  return vault.read(({ db }) => readWrappers(db));
}

describe("wrappers of every kind", () => {
  it("open the vault alone, each by its own name", async (t) => {
    const fixture = await everyKind(t);
    for (const unlocker of fixture.unlockers) {
      const { by } = await fixture.reopen().unseal([unlocker]);
      assert.ok(by.startsWith(unlocker.kind), by);
    }
  });

  it("cannot be edited, removed or planted without the root key", async (t) => {
    const fixture = await everyKind(t);
    fixture.vault.close();
    const saved: Record<string, unknown>[] = [];
    editDatabase(fixture.directory, (db) => {
      saved.push(...(db.prepare("SELECT * FROM wrappers").all() as Record<string, unknown>[]));
    });
    const columns = "(id, kind, params, wrapped, created_at)";
    for (const unlocker of fixture.unlockers) {
      const other = fixture.unlockers[unlocker.kind === "file" ? 1 : 0] ?? assert.fail();
      const where = `kind = '${unlocker.kind}'`;
      const edits = [
        `UPDATE wrappers SET params = params || ' ' WHERE ${where}`,
        `UPDATE wrappers SET wrapped = zeroblob(72) WHERE ${where}`,
        `UPDATE wrappers SET created_at = created_at + 1 WHERE ${where}`,
        `UPDATE wrappers SET id = 'ffff' WHERE ${where}`,
        `DELETE FROM wrappers WHERE ${where}`,
        `INSERT INTO wrappers ${columns} SELECT 'planted', kind, params, wrapped, created_at FROM wrappers WHERE ${where}`,
      ];
      for (const sql of edits) {
        editDatabase(fixture.directory, (db) => db.exec(sql));
        await assert.rejects(fixture.reopen().unseal([other]), VaultTamperedError, sql);
        editDatabase(fixture.directory, (db) => {
          db.exec("DELETE FROM wrappers");
          const insert = db.prepare(
            `INSERT INTO wrappers ${columns} VALUES (@id, @kind, @params, @wrapped, @created_at)`,
          );
          for (const row of saved) insert.run(row);
        });
      }
    }
    await fixture.reopen().unseal([fixture.unlocker]);
  });

  it("take a new root key with the same id, kind and params, and open only that one", async (t) => {
    const fixture = await everyKind(t);
    const newRoot = Secret.adopt(randomBytes(32));
    const expected = newRoot.use((bytes) => bytes.toString("hex"));
    for (const unlocker of fixture.unlockers) {
      const stanza = stanzasOf(fixture).find(({ kind }) => kind === unlocker.kind) ?? assert.fail();
      const renewed = await rewrapRootKey(newRoot, stanza, unlocker, fixture.vault.id);
      assert.deepEqual({ ...renewed, wrapped: null }, { ...stanza, wrapped: null });
      assert.notDeepEqual(renewed.wrapped, stanza.wrapped);
      const root = await unwrapRootKey([renewed], unlocker, fixture.vault.id);
      assert.equal(
        root.use((bytes) => bytes.toString("hex")),
        expected,
        unlocker.kind,
      );
      await assert.rejects(unwrapRootKey([renewed], unlocker, "another vault"), UnlockError);
    }
    const [stanza] = stanzasOf(fixture).filter(({ kind }) => kind === "passphrase");
    const wrong = rewrapRootKey(newRoot, stanza ?? assert.fail(), passphrase("wrong horse"), fixture.vault.id);
    await assert.rejects(wrong, /the passphrase is wrong/);
    assert.equal(newRoot.wiped, false);
  });
});

describe("a prepared wrapper", () => {
  it("is not stored when it holds another root key than the vault's, as after a rotation by somebody else", async (t) => {
    const [fixture, foreign] = [await newVault(t), await newVault(t)];
    const options = { cost: FAST_PASSPHRASE, now: START_MS };
    const stale = await prepareWrapper(foreign.vault, [foreign.unlocker], passphrase("correct horse"), options);
    assert.throws(() => storeWrapper(fixture.vault, stale, "ana"), refusedAs("conflict", /rotated in the meantime/));
    const good = await prepareWrapper(fixture.vault, [fixture.unlocker], passphrase("correct horse"), options);
    const changed: PreparedWrapper = { ...good, wrapper: { ...good.wrapper, params: "{}" } };
    assert.throws(() => storeWrapper(fixture.vault, changed, "ana"), refusedAs("conflict"));
    assert.equal(fixture.vault.listWrappers().length, 1);
    storeWrapper(fixture.vault, good, "ana");
    await fixture.reopen().unseal([passphrase("correct horse")]);
  });

  it("needs somebody who opens the vault now, however unsealed it is", async (t) => {
    const { vault, unlocker } = await newVault(t);
    const options = { cost: FAST_PASSPHRASE, now: START_MS };
    const asked = prepareWrapper(vault, [passphrase("nobody set one")], unlocker, options);
    await assert.rejects(asked, VaultSealedError);
  });

  it("is proven with a key that is not the root key itself", () => {
    const root = Secret.adopt(Buffer.alloc(32, 7));
    const key = headerKeyOf(root);
    assert.ok(!key.use((a) => root.use((b) => a.equals(b))));
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Secret } from "../../../src/secret.ts";
import { type UnlockProblemCode, VaultTamperedError } from "../../../src/store/errors.ts";
import { type PreparedShares, prepareShares, replaceShares } from "../../../src/store/prepared-wrapper.ts";
import { parseShare, type Share, shareInWords } from "../../../src/store/wrappers/share-words.ts";
import type { SharesUnlocker } from "../../../src/store/wrappers/shares.ts";
import { editDatabase, newVault, START_MS, sealedBecause, type VaultFixture } from "../../support/vault-fixture.ts";

const copies = (shares: readonly Secret[]): Secret[] =>
  shares.map((share) => share.use((bytes) => Secret.copyOf(bytes)));

/** Whoever is asked gives these; they stay usable for the next time. */
function holders(shares: readonly Secret[]): SharesUnlocker {
  return { kind: "shares", read: async () => copies(shares) };
}

function altered(share: Secret, change: (parsed: Share) => Partial<Share>): Secret {
  const parsed = share.use((bytes) => parseShare(bytes, "it"));
  return shareInWords({ ...parsed, ...change(parsed) });
}

function flipped({ value }: Share): Partial<Share> {
  const bytes = value.use((own) => Buffer.from(own));
  bytes[9] = (bytes[9] ?? 0) ^ 0x10;
  return { value: Secret.copyOf(bytes) };
}

async function withShares(
  t: Parameters<typeof newVault>[0],
  set = { threshold: 3, count: 5 },
): Promise<VaultFixture & { made: PreparedShares }> {
  const fixture = await newVault(t);
  const made = await prepareShares(fixture.vault, [fixture.unlocker], set, START_MS);
  await replaceShares(fixture.vault, made, copies(made.shares), "ana");
  return { ...fixture, made };
}

function refusedFor(code: UnlockProblemCode, words: RegExp): (error: Error) => boolean {
  return (error) => {
    assert.ok(sealedBecause(code)(error));
    assert.match(error.message, words);
    return true;
  };
}

describe("shares wrapper", () => {
  it("opens with any threshold many shares, and with no fewer", async (t) => {
    const { made, reopen } = await withShares(t);
    const vault = reopen();
    const some = fc.shuffledSubarray([...made.shares], { minLength: 0, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(some, async (shares) => {
        vault.seal();
        if (shares.length >= 3) return assert.deepEqual(await vault.unseal([holders(shares)]), { by: "shares" });
        await assert.rejects(vault.unseal([holders(shares)]), refusedFor("too_few_shares", /of 3 needed shares/));
      }),
      { numRuns: 40 },
    );
  });

  it("names the share that was altered, given twice, or belongs to another set", async (t) => {
    const { made, reopen, vault, unlocker } = await withShares(t);
    const [one, two, three, four] = made.shares;
    assert.ok(one && two && three && four);
    const open = (...shares: Secret[]) => reopen().unseal([holders(shares)]);
    const isAltered = refusedFor(
      "bad_share",
      /share 2 of those given says it is number 2, but it is not the one that was made/,
    );
    await assert.rejects(open(one, altered(two, flipped), three), isAltered);
    await assert.rejects(open(one, two, three, altered(four, flipped)), refusedFor("bad_share", /number 4/));
    const renumbered = altered(two, () => ({ number: 5 }));
    await assert.rejects(open(one, renumbered, three), refusedFor("bad_share", /says it is number 5/));
    await assert.rejects(open(one, two, one), refusedFor("duplicate_share", /share number 1 was given twice/));
    const few = refusedFor("too_few_shares", /2 of 3 needed shares were given \(number 4, 1\)/);
    await assert.rejects(open(four, one), few);
    const typo = Secret.copyOf(
      three.use((bytes) => Buffer.concat([Buffer.from("zebra "), bytes.subarray(bytes.indexOf(0x20) + 1)])),
    );
    await assert.rejects(open(one, two, typo), refusedFor("bad_share", /share 3 of those given has a mistyped/));
    const other = await prepareShares(vault, [unlocker], { threshold: 2, count: 2 }, START_MS);
    const stranger = other.shares[1] ?? assert.fail();
    await assert.rejects(
      open(one, two, stranger),
      refusedFor("wrong_set", /number 2\) is of the set \w{8}, the vault's is/),
    );
  });

  it("lets a new set replace the old one only after the new shares have been typed back", async (t) => {
    const { made: old, vault, unlocker, reopen } = await withShares(t);
    const made = await prepareShares(vault, [unlocker], { threshold: 2, count: 3 }, START_MS);
    const [one, two] = made.shares;
    assert.ok(one && two);
    const unproven: [Secret[], RegExp][] = [
      [[one], /1 of 2 needed/],
      [[one, altered(two, flipped)], /not the one that was made/],
      [[...old.shares], /is of the set/],
      [[], /0 of 2 needed/],
    ];
    for (const [typed, words] of unproven) {
      await assert.rejects(replaceShares(vault, made, copies(typed), "ana"), words);
      await reopen().unseal([holders(old.shares)]);
      await assert.rejects(reopen().unseal([holders(made.shares)]), sealedBecause("wrong_set"));
    }
    const { replaced } = await replaceShares(vault, made, copies([one, two]), "ana");
    assert.equal(replaced.length, 1);
    await reopen().unseal([holders(made.shares)]);
    await assert.rejects(reopen().unseal([holders(old.shares)]), sealedBecause("wrong_set"));
    assert.deepEqual(
      vault
        .listWrappers()
        .map(({ kind }) => kind)
        .sort(),
      ["file", "shares"],
    );
    assert.equal(vault.verifyAudit().ok, true);
    const entry = vault.listAudit().findLast(({ action }) => action === "wrapper.add");
    assert.deepEqual(entry?.detail, { kind: "shares", replaced: replaced[0] });
  });

  it("proves a quorum without unsealing", async (t) => {
    const { made, reopen } = await withShares(t);
    const sealed = reopen();
    await sealed.proveOpening(holders(made.shares.slice(2)));
    assert.equal(sealed.sealed, true);
    await assert.rejects(sealed.proveOpening(holders(made.shares.slice(3))), sealedBecause("too_few_shares"));
  });

  it("tells the holders the set, the threshold and the count before asking", async (t) => {
    const { made, reopen } = await withShares(t);
    let asked: unknown = null;
    const read: SharesUnlocker["read"] = async (set) => {
      asked = set;
      return copies(made.shares);
    };
    await reopen().unseal([{ kind: "shares", read }]);
    const { set } = JSON.parse(made.wrapper.params) as { set: string };
    assert.deepEqual(asked, { set, threshold: 3, count: 5 });
  });

  it("wipes what it was given, also when it refuses", async (t) => {
    const { made, reopen } = await withShares(t);
    const given = [...copies(made.shares), Secret.copyOf(Buffer.from("junk"))];
    await assert.rejects(reopen().unseal([{ kind: "shares", read: async () => given }]), sealedBecause("bad_share"));
    assert.ok(given.every(({ wiped }) => wiped));
  });

  it("refuses an edited stanza: threshold, commitments and all the rest", async (t) => {
    const { made, directory, vault, reopen, unlocker } = await withShares(t, { threshold: 2, count: 2 });
    vault.close();
    const edits = [
      `replace(params, '"threshold":2', '"threshold":1')`,
      `replace(params, '"commitments":["', '"commitments":["00')`,
      "'{}'",
    ];
    for (const params of edits) {
      editDatabase(directory, (db) => db.exec(`UPDATE wrappers SET params = ${params} WHERE kind = 'shares'`));
      const problem = (error: Error): boolean =>
        error.name === "VaultSealedError" || error instanceof VaultTamperedError;
      await assert.rejects(reopen().unseal([holders(made.shares)]), problem, params);
      await assert.rejects(reopen().unseal([unlocker]), VaultTamperedError, params);
      const restore = (db: Parameters<Parameters<typeof editDatabase>[1]>[0]) =>
        db.prepare("UPDATE wrappers SET params = ? WHERE kind = 'shares'").run(made.wrapper.params);
      editDatabase(directory, restore);
      await reopen().unseal([holders(made.shares)]);
    }
  });

  it("cannot be what a vault is made with, and refuses sets that make no sense", async (t) => {
    const { vault, unlocker } = await newVault(t);
    await assert.rejects(vault.addWrapper(holders([]), [unlocker], "ana"), /sidekey vault shares split/);
    for (const set of [
      { threshold: 1, count: 3 },
      { threshold: 4, count: 3 },
      { threshold: 2, count: 256 },
    ]) {
      await assert.rejects(prepareShares(vault, [unlocker], set, START_MS), /cannot be made/);
    }
    await assert.rejects(prepareShares(vault, [], { threshold: 2, count: 3 }, START_MS), sealedBecause());
  });
});

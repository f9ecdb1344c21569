import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SubmissionError, type SubmissionErrorCode } from "../../src/store/errors.ts";
import { putRotation, type Rotation } from "../../src/store/rotations.ts";
import { putRow } from "../../src/store/rows.ts";
import { openSubmission, wasAccepted } from "../../src/store/submission.ts";
import { type AcceptAs, acceptSubmission, noteRefusal, wasRefused } from "../../src/store/submission-accept.ts";
import { parseSubmission } from "../../src/store/submission-text.ts";
import type { Vault } from "../../src/store/vault.ts";
import { accepted, FMP_KEY, keyOf, opened, sealed } from "../support/submission-fixture.ts";
import { newVault, reveal, START_MS } from "../support/vault-fixture.ts";

function refusal(vault: Vault, text: string, as: AcceptAs = "current"): SubmissionErrorCode | null {
  const before = JSON.stringify([vault.listCredentials(), vault.listAudit()]);
  try {
    accepted(vault, text, as);
    return null;
  } catch (error) {
    assert.ok(error instanceof SubmissionError, String(error));
    assert.equal(JSON.stringify([vault.listCredentials(), vault.listAudit()]), before, "a refusal changed something");
    return error.code;
  }
}

function value(vault: Vault, name: string, version: number): string | undefined {
  return reveal(vault.openFields(vault.getCredential(name).id, version, "test")).api_key;
}

const ROTATION: Rotation = {
  phase: "ramping",
  from: 1,
  to: 2,
  steps: [100],
  step: 0,
  stepMs: 1,
  graceMs: 1,
  startedAt: START_MS,
  since: START_MS,
  startedBy: "ana",
  attempts: 0,
  nextTryAt: null,
  problem: null,
  automatic: null,
};

describe("an accepted submission", () => {
  it("is a new credential, sealed anew for its place, with one audit entry beside the credential's own", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    const text = sealed(keyOf(vault), { expires: Date.UTC(2030, 0, 1) });
    const { fingerprint } = opened(vault, text);
    const { credential, version } = accepted(vault, text);
    assert.deepEqual([credential.name, credential.provider, version], ["fmp-main", "fmp", 1]);
    assert.deepEqual(credential.hosts, ["financialmodelingprep.com"]);
    assert.equal(credential.expiresAt, Date.UTC(2030, 0, 1));
    assert.equal(credential.versions[0]?.fingerprint, fingerprint);
    assert.equal(value(vault, "fmp-main", 1), FMP_KEY);
    const [added, entry] = vault.listAudit().slice(-3);
    assert.equal(added?.action, "credential.add");
    const { digest } = parseSubmission(text);
    assert.deepEqual([entry?.action, entry?.object, entry?.actor], ["submission.accept", "credential:fmp-main", "ana"]);
    assert.deepEqual(entry?.detail, { digest, fingerprint, provider: "fmp", stage: "current", version: 1 });
    assert.ok(vault.verifyAudit().ok);
    const other = reopen();
    await other.unseal([unlocker]);
    assert.ok(other.read((view) => wasAccepted(view, digest)));
  });

  it("is a new version of the credential with its name, current or pending", async (t) => {
    const { vault } = await newVault(t);
    const key = keyOf(vault);
    accepted(vault, sealed(key));
    const second = accepted(vault, sealed(key, { expires: Date.UTC(2031, 0, 1) }, { api_key: "second" }));
    assert.deepEqual(
      second.credential.versions.map(({ number, stage }) => [number, stage]),
      [
        [1, "previous"],
        [2, "current"],
      ],
    );
    assert.equal(second.credential.expiresAt, Date.UTC(2031, 0, 1));
    const third = accepted(vault, sealed(key, {}, { api_key: "third" }), "pending");
    assert.deepEqual([third.version, third.credential.versions[2]?.stage], [3, "pending"]);
    assert.equal(third.credential.expiresAt, Date.UTC(2031, 0, 1));
    assert.equal(value(vault, "fmp-main", 3), "third");
  });

  it("is applied once: not again, not by another process, not after the credential is gone", async (t) => {
    const { vault, reopen, unlocker } = await newVault(t);
    const text = sealed(keyOf(vault));
    const submission = parseSubmission(text);
    const other = reopen();
    await other.unseal([unlocker]);
    // Both have opened it before either stores it.
    const [mine, theirs] = [opened(vault, text), other.read((view) => openSubmission(view, submission))];
    vault.write((transaction) => acceptSubmission(transaction, submission, mine, { as: "current", actor: "ana" }));
    assert.throws(
      () =>
        other.write((transaction) => acceptSubmission(transaction, submission, theirs, { as: "current", actor: "bo" })),
      /accepted on .* as fmp-main version 1; seal the key again/,
    );
    assert.equal(refusal(vault, text), "already_accepted");
    assert.equal(refusal(vault, text.replaceAll("\n", "\r\n")), "already_accepted");
    vault.removeCredential("fmp-main", "ana");
    assert.equal(refusal(vault, text), "already_accepted");
    assert.deepEqual(vault.listCredentials(), []);
  });

  it("never sends an existing credential anywhere else or makes it another's", async (t) => {
    const { vault } = await newVault(t);
    const key = keyOf(vault);
    accepted(vault, sealed(key));
    const changes = [
      { hosts: ["attacker.example"] },
      { hosts: ["financialmodelingprep.com", "attacker.example"] },
      { provider: "eodhd" },
      { environment: "paper" },
      { owner: { kind: "user", id: "user-7" } as const },
    ];
    for (const change of changes) {
      assert.equal(refusal(vault, sealed(key, change)), "mismatch", JSON.stringify(change));
    }
    assert.equal(refusal(vault, sealed(keyOf(vault, "trading"))), "mismatch");
    assert.throws(() => accepted(vault, sealed(key, {}, { other_field: "x" })), /has the fields api_key; give exactly/);
    assert.equal(vault.getCredential("fmp-main").versions.length, 1);
  });

  it("is refused when it has expired, when a pending one has nothing to wait for, and during a rotation", async (t) => {
    const { vault } = await newVault(t);
    const key = keyOf(vault);
    assert.equal(refusal(vault, sealed(key, { expires: START_MS })), "expired");
    assert.equal(refusal(vault, sealed(key), "pending"), "mismatch");
    const { id } = accepted(vault, sealed(key)).credential;
    assert.equal(refusal(vault, sealed(key, { expires: Date.UTC(2030, 0, 1) }), "pending"), "mismatch");
    vault.write((transaction) => {
      putRotation(transaction, id, ROTATION);
      transaction.note({ actor: "ana", action: "rotation.begin", object: "credential:fmp-main", detail: {} });
    });
    assert.equal(refusal(vault, sealed(key)), "busy");
    vault.write((transaction) => {
      putRotation(transaction, id, { ...ROTATION, phase: "done" });
      const { db, keys, now } = transaction;
      putRow(db, keys, "removals", { credential: id, removed_at: now, shred_at: now + 1 });
      transaction.note({ actor: "ana", action: "credential.remove", object: "credential:fmp-main", detail: {} });
    });
    assert.equal(refusal(vault, sealed(key)), "busy");
  });
});

describe("a refused submission", () => {
  it("is known from the audit, without a row of its own", async (t) => {
    const { vault } = await newVault(t);
    const digest = "ab".repeat(32);
    assert.equal(
      vault.read((view) => wasRefused(view, digest)),
      false,
    );
    vault.record((transaction) => noteRefusal(transaction, digest, "damaged", "config"));
    assert.ok(vault.read((view) => wasRefused(view, digest)));
    assert.equal(
      vault.read((view) => wasRefused(view, "cd".repeat(32))),
      false,
    );
    assert.equal(
      vault.read((view) => wasAccepted(view, digest)),
      false,
    );
  });
});

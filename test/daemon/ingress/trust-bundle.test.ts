import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import { getCACertificates } from "node:tls";
import { createRoot } from "../../../src/daemon/ingress/certificate-authority.ts";
import { readSystemRoots, splitPem } from "../../../src/daemon/ingress/system-roots.ts";
import { buildTrustBundle, writeTrustFiles } from "../../../src/daemon/ingress/trust-bundle.ts";
import { programRuns, requires } from "../../support/requirement.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { makeAuthority } from "../../support/test-authority.ts";

const NOW = Date.UTC(2026, 5, 1);

test("the bundle has every system root once, and ours", async () => {
  const { certificatePem } = await createRoot(NOW);
  const certificates = splitPem(buildTrustBundle(certificatePem));
  assert.ok(certificates.includes(certificatePem.trim()));
  assert.equal(new Set(certificates).size, certificates.length);
  assert.ok(certificates.length > 50, `only ${certificates.length} certificates`);
  const system = new Set(getCACertificates("system").map((pem) => pem.trim()));
  for (const pem of system) assert.ok(certificates.includes(pem));
});

test("duplicates, other sidekey roots and broken entries of the system are left out", async () => {
  const own = await createRoot(NOW);
  const rotatedAway = await createRoot(NOW);
  const company = makeAuthority("a company's own authority").caPem;
  const system = [company, own.certificatePem, `${company}\n`, rotatedAway.certificatePem, "garbage"];
  const bundle = buildTrustBundle(own.certificatePem, system);
  assert.deepEqual(splitPem(bundle), [company.trim(), own.certificatePem.trim()]);
});

test("something that is not one certificate is refused as root", async () => {
  const { certificatePem } = await createRoot(NOW);
  for (const wrong of ["", "nonsense", certificatePem + certificatePem]) {
    assert.throws(() => buildTrustBundle(wrong, []), /ca: the root must be one PEM certificate/);
  }
});

test("a machine always has roots", () => {
  assert.ok(readSystemRoots().length > 0);
});

test("the trust files are 0600 like the whole data directory, leave no drafts, and hold no key", async (t) => {
  const dir = tempDir(t);
  const { certificatePem } = await createRoot(NOW);
  const before = process.umask(0o022);
  t.after(() => process.umask(before));
  writeTrustFiles(dir, certificatePem, []);
  const files = writeTrustFiles(dir, certificatePem, [makeAuthority("another").caPem]);
  assert.deepEqual(readdirSync(dir).sort(), ["ca-bundle.p12", "ca-bundle.pem", "ca.pem"]);
  assert.equal(readFileSync(files.root, "utf8"), certificatePem);
  assert.equal(splitPem(readFileSync(files.bundle, "utf8")).length, 2);
  for (const path of Object.values(files)) {
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.ok(!readFileSync(path).includes("PRIVATE"));
  }
});

test("openssl and keytool read the Java trust store without a password", async (t) => {
  const dir = tempDir(t);
  const { certificatePem } = await createRoot(NOW);
  const { javaTruststore } = writeTrustFiles(dir, certificatePem, [makeAuthority("another").caPem]);
  await t.test("openssl", async (t) => {
    if (!(await requires(t, "openssl", () => programRuns("openssl", ["version"])))) return;
    const arguments_ = ["pkcs12", "-in", javaTruststore, "-nokeys", "-nomacver", "-passin", "pass:"];
    const certificates = splitPem(execFileSync("openssl", arguments_).toString());
    assert.equal(certificates[1], certificatePem.trim());
  });
  await t.test("keytool", async (t) => {
    if (!(await requires(t, "keytool", () => programRuns("keytool", ["-help"])))) return;
    const listing = execFileSync("keytool", ["-list", "-keystore", javaTruststore, "-storepass", ""]).toString();
    assert.match(listing, /trusted-1,.*trustedCertEntry/);
    assert.match(listing, /trusted-2,.*trustedCertEntry/);
  });
});

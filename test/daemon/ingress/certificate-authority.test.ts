import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createRoot, issueIntermediate, mintLeaf } from "../../../src/daemon/ingress/certificate-authority.ts";
import { CertificateError, summarizeCertificate } from "../../../src/daemon/ingress/certificates.ts";
import { splitPem } from "../../../src/daemon/ingress/system-roots.ts";
import { Secret } from "../../../src/secret.ts";
import { programRuns, requires } from "../../support/requirement.ts";
import { tempDir } from "../../support/temp-dir.ts";

const NOW = Date.UTC(2026, 5, 1, 12, 0, 0);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const HOSTS = ["api.provider.test", "data.provider.test"];

const refusal =
  (code: string, host: string | null = null) =>
  (error: unknown) => {
    assert.ok(error instanceof CertificateError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.host, host);
    return true;
  };

function serialsOf(...pems: string[]): string[] {
  return pems.flatMap((pem) => splitPem(pem).map((one) => new X509Certificate(one).serialNumber));
}

test("the root is a ten-year P-256 authority whose key the caller gets as wipeable PKCS#8 bytes", async () => {
  const root = await createRoot(NOW);
  const certificate = new X509Certificate(root.certificatePem);
  assert.match(certificate.subject, /^CN=sidekey root [0-9a-f]{8}$/);
  assert.equal(certificate.ca, true);
  assert.ok(certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey));
  assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
  assert.equal(certificate.validToDate.getTime(), NOW + 3650 * DAY);
  assert.equal(certificate.validFromDate.getTime(), NOW - HOUR);
  const key = root.privateKey.use((bytes) => createPrivateKey({ key: bytes, format: "der", type: "pkcs8" }));
  assert.ok(certificate.checkPrivateKey(key));
  root.privateKey.wipe();
  assert.equal(root.privateKey.wiped, true);
  assert.doesNotMatch(root.certificatePem, /PRIVATE/);
});

test("openssl verifies root, intermediate and leaf strictly, and sees the constraints as critical", async (t) => {
  if (!(await requires(t, "openssl", () => programRuns("openssl", ["version"])))) return;
  const dir = tempDir(t);
  const root = await createRoot(NOW);
  const intermediate = await issueIntermediate(root, HOSTS, NOW);
  const leaf = await mintLeaf(intermediate, "api.provider.test", NOW);
  const at = (name: string) => join(dir, name);
  writeFileSync(at("root.pem"), root.certificatePem);
  writeFileSync(at("intermediate.pem"), intermediate.certificatePem);
  writeFileSync(at("leaf.pem"), leaf.chainPem);
  const verify = ["verify", "-x509_strict", "-attime", String(NOW / 1000), "-purpose", "sslserver"];
  const chain = ["-CAfile", at("root.pem"), "-untrusted", at("intermediate.pem"), at("leaf.pem")];
  const verdict = execFileSync("openssl", [...verify, "-verify_hostname", "api.provider.test", ...chain]);
  assert.match(verdict.toString(), /leaf\.pem: OK/);
  const text = execFileSync("openssl", ["x509", "-in", at("intermediate.pem"), "-noout", "-text"]).toString();
  assert.match(text, /Name Constraints: critical\s+Permitted:/);
  assert.deepEqual(
    [...text.matchAll(/DNS:(\S+)/g)].map((match) => match[1]),
    HOSTS,
  );
  assert.match(text, /Excluded:\s+IP:0\.0\.0\.0\/0\.0\.0\.0\s+IP:0:0:0:0:0:0:0:0\/0:0:0:0:0:0:0:0/);
  assert.match(text, /CA:TRUE, pathlen:0/);
  assert.match(text, /TLS Web Server Authentication/);
  const leafText = execFileSync("openssl", ["x509", "-in", at("leaf.pem"), "-noout", "-text"]).toString();
  assert.match(leafText, /Subject Alternative Name: critical\s+DNS:api\.provider\.test\n/);
  assert.match(leafText, /CA:FALSE/);
  assert.match(leafText, /Subject: *\n/);
});

test("the intermediate lives seven days and its key signs but cannot be exported", async () => {
  const intermediate = await issueIntermediate(await createRoot(NOW), HOSTS, NOW);
  assert.equal(intermediate.notAfterMs, NOW + 7 * DAY);
  assert.equal(intermediate.renewAtMs, NOW + (7 * DAY * 2) / 3);
  assert.deepEqual([...intermediate.hosts], HOSTS);
  assert.equal(intermediate.issuer.key.extractable, false);
  await assert.rejects(webcrypto.subtle.exportKey("pkcs8", intermediate.issuer.key), /not extractable/);
});

test("the root key may be wiped as soon as issueIntermediate has returned its promise", async () => {
  const root = await createRoot(NOW);
  const pending = issueIntermediate(root, HOSTS, NOW);
  root.privateKey.wipe();
  assert.ok((await pending).certificatePem.startsWith("-----BEGIN CERTIFICATE-----"));
});

test("an intermediate for no hosts permits no name at all", async () => {
  const intermediate = await issueIntermediate(await createRoot(NOW), [], NOW);
  const der = new X509Certificate(intermediate.certificatePem).raw;
  const permittedInvalid = Buffer.concat([Buffer.from([0x82, 7]), Buffer.from("invalid")]);
  assert.ok(der.includes(permittedInvalid));
});

test("certificates never outlive the one that signed them", async () => {
  const root = await createRoot(NOW);
  const late = NOW + 3650 * DAY - 2 * DAY;
  const intermediate = await issueIntermediate(root, HOSTS, late);
  assert.equal(intermediate.notAfterMs, NOW + 3650 * DAY);
  const leaf = await mintLeaf(intermediate, "api.provider.test", intermediate.notAfterMs - HOUR);
  assert.equal(leaf.notAfterMs, intermediate.notAfterMs);
  assert.equal(leaf.renewAtMs, intermediate.notAfterMs);
});

test("serial numbers are positive, 16 bytes long and never repeat", async () => {
  const root = await createRoot(NOW);
  const intermediate = await issueIntermediate(root, HOSTS, NOW);
  const leafs = await Promise.all(Array.from({ length: 100 }, () => mintLeaf(intermediate, HOSTS[0] ?? "", NOW)));
  const serials = [
    ...serialsOf(root.certificatePem, intermediate.certificatePem),
    ...leafs.flatMap((leaf) => serialsOf(leaf.chainPem).slice(0, 1)),
  ];
  assert.equal(new Set(serials).size, 102);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
});

test("a host that cannot be in a certificate is refused with its name and a typed code", async () => {
  const root = await createRoot(NOW);
  const long = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(63)}.test`;
  const invalid = ["", "*.provider.test", "API.provider.test", "a..b", "b\u00fccher.test", "a b", "x\0.test", long];
  for (const host of invalid) {
    await assert.rejects(issueIntermediate(root, [host], NOW), refusal("host_invalid", host), JSON.stringify(host));
  }
  for (const host of ["127.0.0.1", "10.0.0.8"]) {
    await assert.rejects(issueIntermediate(root, [host], NOW), refusal("host_is_address", host));
  }
  const longest = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(56)}.test`;
  const intermediate = await issueIntermediate(root, [longest], NOW);
  const leaf = await mintLeaf(intermediate, longest, NOW);
  assert.equal(new X509Certificate(leaf.chainPem).checkHost(longest), longest);
});

test("a leaf is minted for a named host only, not for its sub-domains", async () => {
  const intermediate = await issueIntermediate(await createRoot(NOW), HOSTS, NOW);
  for (const host of ["evil.test", "sub.api.provider.test", "provider.test", "127.0.0.1"]) {
    await assert.rejects(mintLeaf(intermediate, host, NOW), refusal("host_not_permitted", host));
  }
  const expired = refusal("intermediate_expired", "api.provider.test");
  await assert.rejects(mintLeaf(intermediate, "api.provider.test", NOW + 7 * DAY), expired);
});

test("a root that is expired, broken or not the key's own is refused with the next step", async () => {
  const root = await createRoot(NOW);
  const other = await createRoot(NOW);
  const mixed = { certificatePem: root.certificatePem, privateKey: other.privateKey };
  await assert.rejects(issueIntermediate(mixed, HOSTS, NOW), refusal("root_mismatch"));
  await assert.rejects(issueIntermediate(root, HOSTS, NOW + 3650 * DAY), refusal("root_expired"));
  const broken = { certificatePem: root.certificatePem, privateKey: Secret.copyOf(Buffer.from("not a key")) };
  await assert.rejects(issueIntermediate(broken, HOSTS, NOW), refusal("root_invalid"));
  await assert.rejects(issueIntermediate({ ...root, certificatePem: "x" }, HOSTS, NOW), refusal("root_invalid"));
});

test("a summary shows the fingerprint that openssl shows, and null for what is no certificate", async (t) => {
  if (!(await requires(t, "openssl", () => programRuns("openssl", ["version"])))) return;
  const { certificatePem } = await createRoot(NOW);
  const summary = summarizeCertificate(certificatePem);
  const input = { input: certificatePem };
  const openssl = execFileSync("openssl", ["x509", "-noout", "-fingerprint", "-sha256"], input).toString();
  assert.equal(openssl.trim().split("=")[1], summary?.fingerprint);
  assert.match(summary?.commonName ?? "", /^sidekey root /);
  assert.equal(summarizeCertificate("nonsense"), null);
});

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { canonicalHost } from "../../policy/host.ts";
import type { Secret } from "../../secret.ts";
import {
  CertificateError,
  certificatePemOf,
  exportPrivateKey,
  exportPrivateKeyPem,
  generateKeys,
  type Issuer,
  openIssuer,
  ROOT_NAME_PREFIX,
  shortKeyId,
  signCertificate,
} from "./certificates.ts";
import { NAME_CONSTRAINTS_OID, nameConstraints } from "./name-constraints.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ROOT_LIFE_MS = 3650 * DAY_MS;
const INTERMEDIATE_LIFE_MS = 7 * DAY_MS;
const LEAF_LIFE_MS = 24 * HOUR_MS;
/** Certificates begin in the past, so that a client whose clock is behind accepts them. */
const BACKDATE_MS = HOUR_MS;
const RENEW_AT = 2 / 3;

/** The installation's root. The caller seals `privateKey` (PKCS#8 DER) in the vault and then wipes it. */
export interface Root {
  readonly certificatePem: string;
  readonly privateKey: Secret;
}

/** The certificate authority for one policy's hosts. Its key exists in this process only and cannot be exported. */
export interface Intermediate {
  readonly certificatePem: string;
  /** The hosts it may vouch for. */
  readonly hosts: ReadonlySet<string>;
  readonly notAfterMs: number;
  /** From this time on (2/3 of its life) a new one should be issued. Milliseconds since the epoch. */
  readonly renewAtMs: number;
  readonly issuer: Issuer;
}

/** A host's certificate. The key is made for this host and these 24 hours; it is not a secret of the vault. */
export interface Leaf {
  /** Leaf, then intermediate: what a server sends. */
  readonly chainPem: string;
  readonly privateKeyPem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Milliseconds since the epoch: 2/3 of its life, or its end where a new leaf would live no longer. */
  readonly renewAtMs: number;
}

/** Makes the installation's root: P-256, 10 years, may sign intermediates only (path length 1). `nowMs` since the epoch. */
export async function createRoot(nowMs: number): Promise<Root> {
  const keys = await generateKeys(true);
  const certificate = await signCertificate(
    {
      publicKey: keys.publicKey,
      subject: `CN=${ROOT_NAME_PREFIX}${await shortKeyId(keys.publicKey)}`,
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs: nowMs + ROOT_LIFE_MS,
      extensions: [
        new x509.BasicConstraintsExtension(true, 1, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      ],
    },
    { selfKey: keys.privateKey },
  );
  return { certificatePem: certificatePemOf(certificate), privateKey: await exportPrivateKey(keys.privateKey) };
}

/**
 * Issues the intermediate for `hosts` (canonical names): 7 days, path length 0, server authentication only, and
 * critical name constraints that permit exactly these hosts (RFC 5280 section 4.2.1.10). `root.privateKey` is only
 * read before the first await, so the caller may wipe it as soon as it has the promise.
 * @throws CertificateError when a host cannot be in a certificate or the root is expired, unreadable or mismatched.
 */
export async function issueIntermediate(root: Root, hosts: readonly string[], nowMs: number): Promise<Intermediate> {
  for (const host of hosts) assertHost(host);
  const issuer = openIssuer(root.certificatePem, root.privateKey);
  const rootNotAfterMs = issuer.certificate.notAfter.getTime();
  if (nowMs >= rootNotAfterMs) {
    throw new CertificateError(
      "root_expired",
      `ca: the root certificate expired at ${issuer.certificate.notAfter.toISOString()}; run \`sidekey ca rotate\` and hand out the new root`,
    );
  }
  const keys = await generateKeys(false);
  const unique = [...new Set(hosts)].sort();
  const certificate = await signCertificate(
    {
      publicKey: keys.publicKey,
      subject: `CN=sidekey intermediate ${await shortKeyId(keys.publicKey)}`,
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs: Math.min(nowMs + INTERMEDIATE_LIFE_MS, rootNotAfterMs),
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.Extension(NAME_CONSTRAINTS_OID, true, nameConstraints(unique)),
      ],
    },
    issuer,
  );
  const notAfterMs = certificate.notAfter.getTime();
  return {
    certificatePem: certificatePemOf(certificate),
    hosts: new Set(unique),
    notAfterMs,
    renewAtMs: nowMs + (notAfterMs - nowMs) * RENEW_AT,
    issuer: { certificate, key: keys.privateKey },
  };
}

/**
 * Mints a leaf for one host of the intermediate: 24 h, the name in the subjectAltName alone. The subject is empty, so
 * that no client falls back to a common name (which could not hold a name over 64 characters anyway), and the
 * subjectAltName therefore critical (RFC 5280 section 4.2.1.6).
 * @throws CertificateError for a host outside the intermediate's list, or once the intermediate has expired.
 */
export async function mintLeaf(intermediate: Intermediate, host: string, nowMs: number): Promise<Leaf> {
  // Name constraints also permit sub-domains; sidekey itself does not.
  if (!intermediate.hosts.has(host)) throw notPermitted(host);
  if (nowMs >= intermediate.notAfterMs) {
    throw new CertificateError(
      "intermediate_expired",
      "ca: the intermediate certificate expired and was not renewed; restart sidekey",
      host,
    );
  }
  const keys = await generateKeys(true);
  const certificate = await signCertificate(
    {
      publicKey: keys.publicKey,
      subject: "",
      notBeforeMs: nowMs - BACKDATE_MS,
      notAfterMs: Math.min(nowMs + LEAF_LIFE_MS, intermediate.notAfterMs),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: host }], true),
      ],
    },
    intermediate.issuer,
  );
  const notAfterMs = certificate.notAfter.getTime();
  // Where the intermediate is what ends its life, minting again gains nothing.
  const renewAtMs = notAfterMs >= intermediate.notAfterMs ? notAfterMs : nowMs + (notAfterMs - nowMs) * RENEW_AT;
  return {
    chainPem: certificatePemOf(certificate) + intermediate.certificatePem,
    privateKeyPem: exportPrivateKeyPem(keys.privateKey),
    notBeforeMs: certificate.notBefore.getTime(),
    notAfterMs,
    renewAtMs,
  };
}

/** The error for a host that the intermediate does not name. */
export function notPermitted(host: string): CertificateError {
  return new CertificateError(
    "host_not_permitted",
    `ca: "${host}" is not a host of the policy; only hosts that a route names get a certificate`,
    host,
  );
}

function assertHost(host: string): void {
  const result = canonicalHost(host);
  if (result.ok && result.kind !== "name") {
    throw new CertificateError(
      "host_is_address",
      `ca: "${host}" is an IP address and certificates are issued for names only; give the provider a host name`,
      host,
    );
  }
  if (!result.ok || result.host !== host) {
    const reason = result.ok ? `write it as "${result.host}"` : result.reason;
    throw new CertificateError("host_invalid", `ca: "${host}" cannot be in a certificate: ${reason}`, host);
  }
}

import { createHash, createPrivateKey, createPublicKey, KeyObject, webcrypto, X509Certificate } from "node:crypto";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { Secret } from "../../secret.ts";

type CryptoKey = webcrypto.CryptoKey;
type CryptoKeyPair = webcrypto.CryptoKeyPair;

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;
const SERIAL_BYTES = 16;
const SHORT_ID_LENGTH = 8;

/** What the common name of every sidekey root begins with. */
export const ROOT_NAME_PREFIX = "sidekey root ";

x509.cryptoProvider.set(webcrypto);

export type CertificateErrorCode =
  | "host_invalid"
  | "host_is_address"
  | "host_not_permitted"
  | "root_invalid"
  | "root_mismatch"
  | "root_expired"
  | "intermediate_expired";

/** Why a certificate was not made. `host` is the name it was for, or null when no single name is at fault. */
export class CertificateError extends Error {
  readonly code: CertificateErrorCode;
  readonly host: string | null;

  constructor(code: CertificateErrorCode, message: string, host: string | null = null) {
    super(message);
    this.name = "CertificateError";
    this.code = code;
    this.host = host;
  }
}

/** Whoever signs: its certificate and its private key. */
export interface Issuer {
  readonly certificate: x509.X509Certificate;
  /** Not extractable. */
  readonly key: CryptoKey;
}

export interface CertificateRequest {
  readonly publicKey: CryptoKey;
  /** RFC 4514 text, or "" for an empty subject. */
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Besides the key identifiers, which `signCertificate` adds. */
  readonly extensions: readonly x509.Extension[];
}

/** A new P-256 key pair. `extractable` concerns the private half. */
export async function generateKeys(extractable: boolean): Promise<CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(KEY_ALGORITHM, extractable, ["sign", "verify"]);
}

/** The private half as PKCS#8 DER. `key` must be extractable. */
export async function exportPrivateKey(key: CryptoKey): Promise<Secret> {
  // Buffer.from(ArrayBuffer) shares the memory: the one copy is the one that `wipe` zeroes.
  return Secret.adopt(Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)));
}

/** The private half as PKCS#8 PEM, which is the only form `tls.createSecureContext` takes. `key` must be extractable. */
export function exportPrivateKeyPem(key: CryptoKey): string {
  return KeyObject.from(key).export({ type: "pkcs8", format: "pem" }) as string;
}

/**
 * Opens a PKCS#8 DER private key as a key that signs and cannot be exported again, and checks that it belongs to
 * `certificatePem`.
 * @throws CertificateError `root_invalid` when either cannot be read, `root_mismatch` when they do not belong together.
 */
export function openIssuer(certificatePem: string, privateKey: Secret): Issuer {
  const { certificate, keyObject } = readIssuer(certificatePem, privateKey);
  const publicDer = createPublicKey(keyObject).export({ type: "spki", format: "der" });
  if (!publicDer.equals(Buffer.from(certificate.publicKey.rawData))) {
    throw new CertificateError(
      "root_mismatch",
      "ca: the sealed root key does not belong to the root certificate; restore both from one backup or run `sidekey ca rotate`",
    );
  }
  return { certificate, key: keyObject.toCryptoKey(KEY_ALGORITHM, false, ["sign"]) };
}

function readIssuer(certificatePem: string, privateKey: Secret) {
  try {
    const certificate = new x509.X509Certificate(certificatePem);
    const keyObject = privateKey.use((key) => createPrivateKey({ key, format: "der", type: "pkcs8" }));
    return { certificate, keyObject };
  } catch {
    // The cause is left out on purpose: a parser's message may quote what it read.
    throw new CertificateError(
      "root_invalid",
      "ca: the root certificate or its sealed key cannot be read; restore both from a backup or run `sidekey ca rotate`",
    );
  }
}

/**
 * Signs a certificate with ECDSA/SHA-256, a random serial, and both key identifiers. `issuer` null: self-signed with
 * `selfKey`. Times have whole seconds in a certificate, so they are rounded towards the shorter life.
 */
export async function signCertificate(
  request: CertificateRequest,
  issuer: Issuer | { readonly selfKey: CryptoKey },
): Promise<x509.X509Certificate> {
  const subjectId = await x509.SubjectKeyIdentifierExtension.create(request.publicKey);
  const signer = "selfKey" in issuer ? null : issuer.certificate;
  return await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: request.subject,
    issuer: signer === null ? request.subject : signer.subjectName,
    notBefore: wholeSeconds(Math.ceil, request.notBeforeMs),
    notAfter: wholeSeconds(Math.floor, request.notAfterMs),
    publicKey: request.publicKey,
    signingKey: "selfKey" in issuer ? issuer.selfKey : issuer.key,
    signingAlgorithm: SIGNATURE,
    extensions: [
      ...request.extensions,
      subjectId,
      new x509.AuthorityKeyIdentifierExtension(signer === null ? subjectId.keyId : keyIdOf(signer)),
    ],
  });
}

function keyIdOf(certificate: x509.X509Certificate): string {
  const extension = certificate.getExtension(x509.SubjectKeyIdentifierExtension);
  if (extension === null) throw new Error("internal: an issuer without a subject key identifier");
  return extension.keyId;
}

function wholeSeconds(round: (value: number) => number, ms: number): Date {
  return new Date(round(ms / 1000) * 1000);
}

/** 16 random bytes as hex, positive and without a leading zero byte (RFC 5280 section 4.1.2.2). */
function newSerial(): string {
  const bytes = webcrypto.getRandomValues(Buffer.alloc(SERIAL_BYTES));
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString("hex");
}

/** PEM with one line feed at the end. */
export function certificatePemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem").trimEnd()}\n`;
}

/** Eight hex digits that name a public key in a certificate's common name. */
export async function shortKeyId(publicKey: CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey("spki", publicKey);
  return createHash("sha256").update(Buffer.from(der)).digest("hex").slice(0, SHORT_ID_LENGTH);
}

export interface CertificateSummary {
  /** SHA-256 over the DER, upper-case hex in colon-separated pairs, as browsers and openssl show it. */
  readonly fingerprint: string;
  /** Common name of the subject; "" when it has none. */
  readonly commonName: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** What people compare and what the trust bundle sorts by; null when `pem` is not a certificate. */
export function summarizeCertificate(pem: string): CertificateSummary | null {
  try {
    const certificate = new X509Certificate(pem);
    return {
      fingerprint: certificate.fingerprint256,
      commonName: /^CN=(.*)$/m.exec(certificate.subject ?? "")?.[1] ?? "",
      notBeforeMs: certificate.validFromDate.getTime(),
      notAfterMs: certificate.validToDate.getTime(),
    };
  } catch {
    return null;
  }
}

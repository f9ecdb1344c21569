import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";
import { bits, explicit, implicit, integer, octets, oid, sequence, set, time, utf8, yes } from "./der.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const KEY_USAGE_SIGN_CERTIFICATES = bits(Buffer.from([0x06]), 1);
const KEY_USAGE_SIGN = bits(Buffer.from([0x80]), 7);

export interface Leaf {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface LeafOptions {
  /** Names and IP addresses for the subjectAltName. */
  readonly hostnames: readonly string[];
  /** Defaults to an hour ago and tomorrow. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A throw-away certificate authority. */
export interface TestAuthority {
  readonly caPem: string;
  issue(options: LeafOptions): Leaf;
}

/** Makes an authority with a P-256 key that exists nowhere but in memory. `name` is its common name. */
export function makeAuthority(name = "sidekey test authority"): TestAuthority {
  const ca = keyPair();
  const caCert = certificate({
    issuer: name,
    subject: name,
    subjectKey: ca.publicKey,
    issuerKey: ca.publicKey,
    signer: ca.privateKey,
    ...usualPeriod(),
    extensions: [
      extension("2.5.29.19", true, sequence(yes())),
      extension("2.5.29.15", true, KEY_USAGE_SIGN_CERTIFICATES),
    ],
  });
  return {
    caPem: pem(caCert),
    issue(options) {
      const leaf = keyPair();
      const cert = certificate({
        issuer: name,
        subject: options.hostnames[0] ?? "nameless",
        subjectKey: leaf.publicKey,
        issuerKey: ca.publicKey,
        signer: ca.privateKey,
        ...period(options),
        extensions: leafExtensions(options.hostnames),
      });
      return { certPem: pem(cert), keyPem: exportKey(leaf.privateKey) };
    },
  };
}

/** A leaf that signs itself and that no authority vouches for. */
export function selfSigned(options: LeafOptions): Leaf {
  const own = keyPair();
  const name = options.hostnames[0] ?? "nameless";
  const cert = certificate({
    issuer: name,
    subject: name,
    subjectKey: own.publicKey,
    issuerKey: own.publicKey,
    signer: own.privateKey,
    ...period(options),
    extensions: leafExtensions(options.hostnames),
  });
  return { certPem: pem(cert), keyPem: exportKey(own.privateKey) };
}

interface CertificateParts {
  readonly issuer: string;
  readonly subject: string;
  readonly subjectKey: KeyObject;
  readonly issuerKey: KeyObject;
  readonly signer: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Buffer[];
}

// RFC 5280 4.1
function certificate(parts: CertificateParts): Buffer {
  const tbs = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ECDSA_SHA256,
    distinguishedName(parts.issuer),
    sequence(time(parts.notBefore), time(parts.notAfter)),
    distinguishedName(parts.subject),
    spki(parts.subjectKey),
    explicit(
      3,
      sequence(
        ...parts.extensions,
        extension("2.5.29.14", false, octets(keyIdentifier(parts.subjectKey))),
        extension("2.5.29.35", false, sequence(implicit(0, keyIdentifier(parts.issuerKey)))),
      ),
    ),
  );
  return sequence(tbs, ECDSA_SHA256, bits(sign("sha256", tbs, parts.signer)));
}

function leafExtensions(hostnames: readonly string[]): Buffer[] {
  return [
    extension("2.5.29.19", true, sequence()),
    extension("2.5.29.15", true, KEY_USAGE_SIGN),
    extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"))),
    extension("2.5.29.17", false, sequence(...hostnames.map(generalName))),
  ];
}

function generalName(host: string): Buffer {
  const family = isIP(host);
  if (family === 0) return implicit(2, Buffer.from(host, "ascii"));
  if (family === 4) return implicit(7, Buffer.from(host.split(".").map(Number)));
  if (host !== "::1") throw new Error(`test authority: of the IPv6 addresses only ::1 is supported, not ${host}`);
  return implicit(7, Buffer.concat([Buffer.alloc(15), Buffer.from([1])]));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return critical ? sequence(oid(id), yes(), octets(value)) : sequence(oid(id), octets(value));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(set(sequence(oid("2.5.4.3"), utf8(commonName))));
}

function keyPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash("sha1").update(spki(key)).digest();
}

function exportKey(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

function usualPeriod(): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - HOUR_MS), notAfter: new Date(now + DAY_MS) };
}

function period(options: LeafOptions): { notBefore: Date; notAfter: Date } {
  const usual = usualPeriod();
  return { notBefore: options.notBefore ?? usual.notBefore, notAfter: options.notAfter ?? usual.notAfter };
}

function pem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

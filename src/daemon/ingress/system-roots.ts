import { readFileSync } from "node:fs";
import { getCACertificates, rootCertificates } from "node:tls";

/** Where Linux and BSD distributions keep their roots in one PEM file; the first that has any is used. */
const BUNDLE_FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * The root certificates this machine trusts, as PEM texts: the operating system's as Node finds them, else those of the
 * distribution's file, else (an image without any) the ones Node brings along. Never empty.
 */
export function readSystemRoots(): readonly string[] {
  const fromSystem = askNode();
  if (fromSystem.length > 0) return fromSystem;
  for (const file of BUNDLE_FILES) {
    const certificates = readBundle(file);
    if (certificates.length > 0) return certificates;
  }
  return rootCertificates;
}

function askNode(): readonly string[] {
  // Node 22.15 has it, and throws where the platform has no store it can read.
  if (typeof getCACertificates !== "function") return [];
  try {
    return getCACertificates("system");
  } catch {
    return [];
  }
}

function readBundle(file: string): readonly string[] {
  try {
    return splitPem(readFileSync(file, "utf8"));
  } catch {
    return [];
  }
}

/** The certificates in a PEM text, without the comments between them. */
export function splitPem(text: string): readonly string[] {
  return text.match(CERTIFICATE) ?? [];
}

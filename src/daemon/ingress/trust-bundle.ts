import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT_NAME_PREFIX, summarizeCertificate } from "./certificates.ts";
import { javaTruststore } from "./java-truststore.ts";
import { readSystemRoots, splitPem } from "./system-roots.ts";

/** Like every file of the data directory. Nothing in them is secret; `ca export` hands a copy to other users. */
const FILE_MODE = 0o600;

/** Absolute paths of the files that clients are pointed at. */
export interface TrustFiles {
  /** PEM, sidekey's root alone: for settings that add to what a client trusts already. */
  readonly root: string;
  /** PEM, the system's roots and sidekey's: for settings that replace it. */
  readonly bundle: string;
  /** PKCS#12 of the same certificates as `bundle`, without a password: for Java. */
  readonly javaTruststore: string;
}

/** Where `writeTrustFiles` puts them. */
export function trustFiles(dataDir: string): TrustFiles {
  return {
    root: join(dataDir, "ca.pem"),
    bundle: join(dataDir, "ca-bundle.pem"),
    javaTruststore: join(dataDir, "ca-bundle.p12"),
  };
}

/**
 * The system's roots and `rootPem` as one PEM text, each certificate once. Other sidekey roots are left out: where
 * the machine's trust settings point at a bundle of ours, a root that has been rotated away would otherwise stay
 * trusted for ever.
 * @throws Error when `rootPem` is not exactly one certificate.
 */
export function buildTrustBundle(rootPem: string, systemRoots: readonly string[] = readSystemRoots()): string {
  return trustedCertificates(rootPem, systemRoots).join("\n").concat("\n");
}

function trustedCertificates(rootPem: string, systemRoots: readonly string[]): readonly string[] {
  const [own, ...more] = splitPem(rootPem);
  const summary = own === undefined ? null : summarizeCertificate(own);
  if (own === undefined || summary === null || more.length > 0) {
    throw new Error("ca: the root must be one PEM certificate; `sidekey ca show` prints the installation's");
  }
  const byFingerprint = new Map<string, string>();
  for (const pem of systemRoots) {
    const system = summarizeCertificate(pem);
    if (system === null || system.commonName.startsWith(ROOT_NAME_PREFIX)) continue;
    byFingerprint.set(system.fingerprint, pem.trim());
  }
  byFingerprint.set(summary.fingerprint, own.trim());
  return [...byFingerprint.values()];
}

/**
 * Writes the three trust files into `dataDir`, replacing each atomically, so that a client never reads half a bundle.
 * @throws Error of the file system; the data directory must exist.
 */
export function writeTrustFiles(
  dataDir: string,
  rootPem: string,
  systemRoots: readonly string[] = readSystemRoots(),
): TrustFiles {
  const files = trustFiles(dataDir);
  const certificates = trustedCertificates(rootPem, systemRoots);
  replaceFile(files.root, rootPem);
  replaceFile(files.bundle, certificates.join("\n").concat("\n"));
  replaceFile(files.javaTruststore, javaTruststore(certificates));
  return files;
}

function replaceFile(path: string, content: string | Buffer): void {
  const draft = `${path}.${process.pid}.new`;
  try {
    writeFileSync(draft, content, { mode: FILE_MODE });
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

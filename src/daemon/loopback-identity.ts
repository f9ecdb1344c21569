import { createRoot, issueIntermediate, mintLeaf } from "./ingress/certificate-authority.ts";

/** A certificate for a service inside this process, and the authority that vouches for it. */
export interface LoopbackIdentity {
  readonly chainPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

/** Made at every start for one name and kept in memory only; its authority is trusted for that name alone. */
export async function createLoopbackIdentity(host: string, nowMs: number): Promise<LoopbackIdentity> {
  const root = await createRoot(nowMs);
  try {
    const intermediate = await issueIntermediate(root, [host], nowMs);
    const leaf = await mintLeaf(intermediate, host, nowMs);
    return { chainPem: leaf.chainPem, keyPem: leaf.privateKeyPem, caPem: root.certificatePem };
  } finally {
    root.privateKey.wipe();
  }
}

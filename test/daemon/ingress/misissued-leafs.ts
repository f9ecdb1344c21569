import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import {
  type Intermediate,
  issueIntermediate,
  mintLeaf,
  type Root,
} from "../../../src/daemon/ingress/certificate-authority.ts";
import {
  certificatePemOf,
  exportPrivateKeyPem,
  generateKeys,
  signCertificate,
} from "../../../src/daemon/ingress/certificates.ts";

const HOST = "api.provider.test";
const HOUR_MS = 3_600_000;

export interface ServedLeaf {
  readonly title: string;
  /** The name or address that a client connects to, and expects to be certified. */
  readonly dial: string;
  /** What Node says of it (a part of the message); null when it must be accepted. */
  readonly refusal: string | null;
  readonly chainPem: string;
  readonly keyPem: string;
}

interface Misissue {
  readonly title: string;
  readonly dial: string;
  readonly names: readonly x509.JsonGeneralName[];
  readonly commonName?: string;
  /** When it is not the usual "permitted subtree violation". */
  readonly refusal?: string;
}

const MISISSUED: readonly Misissue[] = [
  { title: "another DNS name", dial: "evil.test", names: [{ type: "dns", value: "evil.test" }] },
  { title: "a suffix look-alike", dial: `x${HOST}`, names: [{ type: "dns", value: `x${HOST}` }] },
  { title: "the parent domain", dial: "provider.test", names: [{ type: "dns", value: "provider.test" }] },
  { title: "a wildcard above the host", dial: "www.provider.test", names: [{ type: "dns", value: "*.provider.test" }] },
  {
    title: "an IPv4 address",
    dial: "127.0.0.1",
    names: [{ type: "ip", value: "127.0.0.1" }],
    refusal: "excluded subtree violation",
  },
  {
    title: "the host and an IPv6 address",
    dial: HOST,
    names: [
      { type: "dns", value: HOST },
      { type: "ip", value: "::1" },
    ],
    refusal: "excluded subtree violation",
  },
  {
    title: "the host and another name",
    dial: "evil.test",
    names: [
      { type: "dns", value: HOST },
      { type: "dns", value: "evil.test" },
    ],
  },
  {
    title: "the host and a workload URI",
    dial: HOST,
    names: [
      { type: "dns", value: HOST },
      { type: "url", value: "spiffe://cluster.test/ns/pay" },
    ],
  },
  {
    title: "the host and a mail address",
    dial: HOST,
    names: [
      { type: "dns", value: HOST },
      { type: "email", value: "root@evil.test" },
    ],
  },
  { title: "a common name alone", dial: "evil.test", names: [], commonName: "evil.test" },
];

/**
 * One honest leaf, the same for a host it does not name, and leafs that the intermediate itself signs but never should
 * (a thief with its key could).
 */
export async function servedLeafs(root: Root, nowMs: number): Promise<readonly ServedLeaf[]> {
  const intermediate = await issueIntermediate(root, [HOST, "data.provider.test"], nowMs);
  const { chainPem, privateKeyPem: keyPem } = await mintLeaf(intermediate, HOST, nowMs);
  return [
    { title: "the policy's host", dial: HOST, refusal: null, chainPem, keyPem },
    {
      title: "a policy host that the leaf does not name",
      dial: "data.provider.test",
      refusal: "does not match certificate",
      chainPem,
      keyPem,
    },
    ...(await Promise.all(MISISSUED.map((wrong) => missign(intermediate, wrong, nowMs)))),
    await missignThroughAuthority(intermediate, nowMs),
  ];
}

/** Signs what the intermediate was not made for. */
async function missign(intermediate: Intermediate, wrong: Misissue, nowMs: number): Promise<ServedLeaf> {
  const keys = await generateKeys(true);
  const certificate = await signCertificate(
    {
      publicKey: keys.publicKey,
      subject: wrong.commonName === undefined ? "" : `CN=${wrong.commonName}`,
      notBeforeMs: nowMs - HOUR_MS,
      notAfterMs: nowMs + HOUR_MS,
      extensions: leafExtensions(wrong.names),
    },
    intermediate.issuer,
  );
  return {
    title: wrong.title,
    dial: wrong.dial,
    refusal: wrong.refusal ?? "permitted subtree violation",
    chainPem: certificatePemOf(certificate) + intermediate.certificatePem,
    keyPem: exportPrivateKeyPem(keys.privateKey),
  };
}

/** The policy's host again, but under one more authority, which the path length forbids. */
async function missignThroughAuthority(intermediate: Intermediate, nowMs: number): Promise<ServedLeaf> {
  const keys = await generateKeys(false);
  const authority = await signCertificate(
    {
      publicKey: keys.publicKey,
      subject: "CN=one authority too many",
      notBeforeMs: nowMs - HOUR_MS,
      notAfterMs: nowMs + HOUR_MS,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    },
    intermediate.issuer,
  );
  const below = {
    ...intermediate,
    certificatePem: certificatePemOf(authority) + intermediate.certificatePem,
    issuer: { certificate: authority, key: keys.privateKey },
  };
  const names = [{ type: "dns", value: HOST } as const];
  const title = "an authority below the intermediate";
  return await missign(below, { title, dial: HOST, names, refusal: "path length constraint exceeded" }, nowMs);
}

function leafExtensions(names: readonly x509.JsonGeneralName[]): x509.Extension[] {
  const usual = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
  ];
  return names.length === 0 ? usual : [...usual, new x509.SubjectAlternativeNameExtension([...names], true)];
}

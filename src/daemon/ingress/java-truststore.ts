import { bmpString, objectIdentifier, octetString, sequence, setOfOne, smallInteger, tagged } from "./der.ts";

const PKCS7_DATA = objectIdentifier("1.2.840.113549.1.7.1");
const CERTIFICATE_BAG = objectIdentifier("1.2.840.113549.1.12.10.1.3");
const X509_CERTIFICATE = objectIdentifier("1.2.840.113549.1.9.22.1");
const FRIENDLY_NAME = objectIdentifier("1.2.840.113549.1.9.20");
/** Java's own attribute; only a certificate that carries it becomes a trusted entry. */
const TRUSTED_KEY_USAGE = objectIdentifier("2.16.840.1.113894.746875.1.1");
const ANY_EXTENDED_KEY_USAGE = objectIdentifier("2.5.29.37.0");
const PFX_VERSION = 3;

/**
 * A PKCS#12 file (RFC 7292) of trusted certificates for `-Djavax.net.ssl.trustStore`, made here because Java reads no
 * PEM trust store and a service's image may lack keytool. Certificates are public, so nothing is encrypted and there is
 * no MAC: Java opens it without a password.
 * @param certificates PEM texts, one certificate each
 */
export function javaTruststore(certificates: readonly string[]): Buffer {
  const bags = certificates.map((pem, index) => certificateBag(derOf(pem), `trusted-${index + 1}`));
  const contents = dataContent(sequence(...bags));
  return sequence(smallInteger(PFX_VERSION), dataContent(sequence(contents)));
}

/** ContentInfo of type data. */
function dataContent(content: Buffer): Buffer {
  return sequence(PKCS7_DATA, tagged(0, octetString(content)));
}

function certificateBag(der: Buffer, alias: string): Buffer {
  const certificate = sequence(X509_CERTIFICATE, tagged(0, octetString(der)));
  const attributes = [
    sequence(FRIENDLY_NAME, setOfOne(bmpString(alias))),
    sequence(TRUSTED_KEY_USAGE, setOfOne(ANY_EXTENDED_KEY_USAGE)),
  ];
  // A SET OF is sorted by its encoding in DER; the shorter length byte comes first.
  attributes.sort(Buffer.compare);
  const set = Buffer.concat(attributes);
  return sequence(CERTIFICATE_BAG, tagged(0, certificate), setOfOne(set));
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----(BEGIN|END) CERTIFICATE-----/g, ""), "base64");
}

import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Secret } from "../../src/secret.ts";
import { ready, testOnlyHeap } from "../../src/store/crypto.ts";
import { sign, signatureFits, signingPublicKey } from "../../src/store/signing.ts";

before(ready);

/** RFC 8032 section 7.1: seed, public key, message, signature. */
const VECTORS = [
  [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "",
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  ],
  [
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  ],
] as const;

describe("signing", () => {
  it("makes the keys and signatures of RFC 8032", () => {
    for (const [seed, publicKey, message, signature] of VECTORS) {
      const secret = Secret.copyOf(Buffer.from(seed, "hex"));
      assert.equal(signingPublicKey(secret).toString("hex"), publicKey);
      assert.equal(sign(secret, Buffer.from(message, "hex")).toString("hex"), signature);
      assert.equal(
        signatureFits(Buffer.from(publicKey, "hex"), Buffer.from(message, "hex"), Buffer.from(signature, "hex")),
        true,
      );
    }
  });

  it("accepts no signature, message or key with a changed bit, and none of another length", () => {
    const seed = Secret.copyOf(Buffer.alloc(32, 7));
    const [publicKey, message] = [signingPublicKey(seed), Buffer.from("a statement")];
    const signature = sign(seed, message);
    const inputs = [publicKey, message, signature];
    for (const [which, input] of inputs.entries()) {
      for (let bit = 0; bit < input.length * 8; bit++) {
        const changed = inputs.map((bytes) => Buffer.from(bytes)) as [Buffer, Buffer, Buffer];
        const at = changed[which] as Buffer;
        at[bit >> 3] = (at[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        assert.equal(signatureFits(...changed), false, `input ${which}, bit ${bit}`);
      }
    }
    for (const length of [0, 1, 31, 63, 65]) {
      assert.equal(signatureFits(publicKey, message, Buffer.alloc(length)), false);
      assert.equal(signatureFits(Buffer.alloc(length), message, signature), false);
    }
  });

  it("leaves neither the seed nor its hash in libsodium's memory", async () => {
    const { createHash, randomBytes } = await import("node:crypto");
    const bytes = randomBytes(32);
    const seed = Secret.copyOf(bytes);
    sign(seed, Buffer.from("a statement"));
    signingPublicKey(seed);
    const hashed = createHash("sha512").update(bytes).digest();
    const clamped = Buffer.from(hashed.subarray(0, 32));
    clamped[0] = (clamped[0] ?? 0) & 248;
    clamped[31] = ((clamped[31] ?? 0) & 63) | 64;
    // How the multiplication takes the scalar: signed digits to the base 16.
    const digits = Buffer.alloc(64);
    let carry = 0;
    for (let i = 0; i < 64; i++) {
      const digit = (((clamped[i >> 1] ?? 0) >> (4 * (i & 1))) & 15) + carry;
      carry = i < 63 ? (digit + 8) >> 4 : 0;
      digits.writeInt8(digit - carry * 16, i);
    }
    for (const needle of [
      digits.subarray(1, 60),
      bytes,
      hashed.subarray(0, 32),
      hashed.subarray(32),
      clamped,
      clamped.subarray(1, 31),
    ]) {
      assert.equal(testOnlyHeap().includes(needle), false);
    }
  });
});

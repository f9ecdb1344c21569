import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Secret } from "../../src/secret.ts";
import * as crypto from "../../src/store/crypto.ts";

before(() => crypto.ready());

const SUNSCREEN =
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";

function findPieces(value: Buffer): number[] {
  const heap = crypto.testOnlyHeap();
  const found: number[] = [];
  for (let at = 0; at + 8 <= value.length; at += 8) if (heap.includes(value.subarray(at, at + 8))) found.push(at);
  return found;
}

describe("crypto", () => {
  it("agrees with the published XChaCha20-Poly1305 vector (draft-irtf-cfrg-xchacha-03 A.3.1)", () => {
    const key = Buffer.from([...Array(32).keys()].map((i) => 0x80 + i));
    const nonce = Buffer.from([...Array(24).keys()].map((i) => 0x40 + i));
    const aad = Buffer.from("50515253c0c1c2c3c4c5c6c7", "hex");
    const sealed = crypto.aeadSeal(key, Buffer.from(SUNSCREEN), aad, nonce);
    assert.equal(sealed.subarray(24, 40).toString("hex"), "bd6d179d3e83d43b9576579493c0e939");
    assert.equal(sealed.subarray(-16).toString("hex"), "c0875924c1c7987947deafd8780acf49");
    assert.equal(crypto.aeadOpen(key, sealed, aad).toString(), SUNSCREEN);
  });

  it("agrees with the WebSocket accept value of RFC 6455 section 1.3", () => {
    assert.equal(crypto.websocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  });

  it("refuses a sealed value when key, AAD or any byte differs", () => {
    const [key, plain, aad] = [crypto.randomBytes(32), crypto.randomBytes(100), Buffer.from("here")];
    const sealed = crypto.aeadSeal(key, plain, aad);
    for (let at = 0; at < sealed.length; at++) {
      const flipped = Buffer.from(sealed);
      flipped.writeUInt8((flipped[at] ?? 0) ^ 1, at);
      assert.throws(() => crypto.aeadOpen(key, flipped, aad), crypto.DecryptError);
    }
    assert.throws(() => crypto.aeadOpen(key, sealed, Buffer.from("there")), crypto.DecryptError);
    assert.throws(() => crypto.aeadOpen(crypto.randomBytes(32), sealed, aad), crypto.DecryptError);
    assert.throws(() => crypto.aeadOpen(key, sealed.subarray(0, 39), aad), crypto.DecryptError);
  });

  it("opens a sealed box only with the private key it was sealed to", () => {
    const [mine, other] = [crypto.boxKeypair(), crypto.boxKeypair()];
    const sealed = crypto.boxSeal(mine.publicKey, Buffer.from("data key"));
    assert.equal(crypto.boxSealOpen(mine.publicKey, mine.privateKey, sealed).toString(), "data key");
    assert.throws(() => crypto.boxSealOpen(other.publicKey, other.privateKey, sealed), crypto.DecryptError);
    assert.throws(
      () => crypto.boxSealOpen(mine.publicKey, mine.privateKey, sealed.subarray(0, 40)),
      crypto.DecryptError,
    );
  });

  it("leaves no plaintext, data key or subkey in libsodium's memory, whatever the length (G2)", () => {
    const { publicKey, privateKey } = crypto.boxKeypair();
    for (const length of [8, 13, 32, 40, 63, 64, 65, 100, 127, 128, 200, 1000]) {
      const [key, plain] = [crypto.randomBytes(32), crypto.randomBytes(length)];
      const sealed = crypto.aeadSeal(key, plain, publicKey);
      assert.deepEqual(findPieces(plain), [], `sealing ${length} bytes`);
      assert.deepEqual(crypto.aeadOpen(key, sealed, publicKey), plain);
      assert.deepEqual(findPieces(plain), [], `opening ${length} bytes`);
      assert.deepEqual(findPieces(key), []);
    }
    const dataKey = crypto.randomBytes(32);
    crypto.boxSealOpen(publicKey, privateKey, crypto.boxSeal(publicKey, dataKey));
    assert.deepEqual([...findPieces(dataKey), ...findPieces(privateKey)], []);
    const root = Secret.copyOf(dataKey);
    const subkey = crypto.kdf(root, 7, "whatever");
    crypto.mac(subkey, Buffer.from("message"));
    assert.deepEqual([...findPieces(dataKey), ...subkey.use((bytes) => findPieces(bytes))], []);
    const text = crypto.base64Encode(dataKey);
    crypto.base64Decode(text);
    assert.deepEqual([...findPieces(dataKey), ...findPieces(text)], []);
  });

  it("writes base64 as Node does and reads nothing else", () => {
    for (const length of [0, 1, 2, 3, 32, 33]) {
      const bytes = crypto.randomBytes(length);
      assert.equal(crypto.base64Encode(bytes).toString(), bytes.toString("base64"));
      assert.deepEqual(crypto.base64Decode(crypto.base64Encode(bytes)), bytes);
    }
    for (const bad of ["YWJ", "YWJj\n", "YW Jj", "YWJj====", "Y-_j"])
      assert.equal(crypto.base64Decode(Buffer.from(bad)), null);
  });

  it("compares unequal lengths as unequal instead of throwing", () => {
    assert.equal(crypto.constantTimeEqual(Buffer.from("ab"), Buffer.from("abc")), false);
    assert.equal(crypto.constantTimeEqual(Buffer.from("abc"), Buffer.from("abc")), true);
  });

  it("derives different keys from different passphrases, salts and costs", async () => {
    const salt = Buffer.alloc(16, 1);
    const derive = async (text: string, passes: number, at: Buffer) =>
      (await crypto.argon2id(Secret.copyOf(Buffer.from(text)), at, passes, 8192)).use((bytes) => bytes.toString("hex"));
    const keys = await Promise.all([
      derive("correct horse", 1, salt),
      derive("correct horsf", 1, salt),
      derive("correct horse", 2, salt),
      derive("correct horse", 1, Buffer.alloc(16, 2)),
    ]);
    assert.equal(new Set(keys).size, 4);
    assert.equal(keys[0], await derive("correct horse", 1, salt));
  });
});

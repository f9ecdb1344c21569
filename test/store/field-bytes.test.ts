import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Secret } from "../../src/secret.ts";
import { decodeFields, encodeFields } from "../../src/store/field-bytes.ts";
import { fields } from "../support/vault-fixture.ts";

const anyFields = fc.uniqueArray(fc.tuple(fc.string({ maxLength: 20 }), fc.uint8Array({ maxLength: 200 })), {
  selector: ([name]) => name,
  maxLength: 5,
});

describe("field bytes", () => {
  it("gives back the same names, values and order, in a multiple of 64 bytes", () => {
    fc.assert(
      fc.property(anyFields, (entries) => {
        const encoded = encodeFields(new Map(entries.map(([name, value]) => [name, Secret.copyOf(value)])));
        assert.equal(encoded.length % 64, 0);
        const decoded = [...decodeFields(encoded)].map(([name, value]) => [name, value.use((b) => Uint8Array.from(b))]);
        assert.deepEqual(
          decoded,
          entries.map(([name, value]) => [name, Uint8Array.from(value)]),
        );
      }),
    );
  });

  it("hides the length of a key within its bucket", () => {
    assert.equal(encodeFields(fields({ k: "x" })).length, encodeFields(fields({ k: "x".repeat(50) })).length);
  });

  it("refuses other formats, truncation, bad padding and repeated names", () => {
    const good = encodeFields(fields({ a: "1", b: "2" }));
    const edited = (edit: (copy: Buffer) => void) => {
      const copy = Buffer.from(good);
      edit(copy);
      return copy;
    };
    const broken = [
      Buffer.alloc(0),
      edited((copy) => copy.writeUInt8(2, 0)),
      edited((copy) => copy.writeUInt8(1, copy.length - 1)),
      edited((copy) => copy.writeUInt16BE(9, 1)),
      edited((copy) => copy.writeUInt32BE(0xffffffff, 6)),
      edited((copy) => copy.write("a", 13)),
      Buffer.concat([good, Buffer.alloc(64)]),
    ];
    for (const bytes of broken) assert.throws(() => decodeFields(bytes), /malformed/);
  });

  it("wipes the half-written plaintext when a field was wiped before", () => {
    const both = fields({ a: "1", b: "2" });
    both.get("b")?.wipe();
    assert.throws(() => encodeFields(both), /wiped/);
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { UnlockError, VaultError, VaultSealedError, VaultTamperedError } from "../../src/store/errors.ts";

describe("vault errors", () => {
  it("carry a name, a code or the problems, and a next step", () => {
    assert.equal(new VaultError("not_found", "x").code, "not_found");
    assert.equal(new UnlockError("missing", "x").code, "missing");
    assert.deepEqual(new VaultSealedError("sealed").problems, []);
    const tampered = new VaultTamperedError("vault.db versions a/1", "this row was edited");
    assert.equal(tampered.object, "vault.db versions a/1");
    assert.match(
      String(tampered),
      /^VaultTamperedError: vault\.db versions a\/1: this row was edited; .*`sidekey audit verify`/,
    );
  });
});

import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createVault } from "../../src/store/create-vault.ts";
import type { UnlockProblemCode } from "../../src/store/errors.ts";
import { tempDir } from "../support/temp-dir.ts";
import { newVault, sealedBecause } from "../support/vault-fixture.ts";

describe("key file", () => {
  it("says what is wrong with a key file: missing, open to others, foreign, damaged", async (t) => {
    const { vault, directory, unlocker } = await newVault(t);
    vault.seal();
    const path = join(directory, "root.key");
    const tryFile = (file: string, code: UnlockProblemCode) =>
      assert.rejects(vault.unseal([{ kind: "file", path: file }]), sealedBecause(code));
    await tryFile(join(directory, "none.key"), "missing");
    chmodSync(path, 0o644);
    await assert.rejects(vault.unseal([unlocker]), /mode 644 lets other users in; run: chmod 600 .*root\.key/);
    chmodSync(path, 0o600);
    const other = await newVault(t);
    await tryFile(join(other.directory, "root.key"), "wrong_key");
    for (const text of [
      "",
      "sidekey root key v1\n",
      readFileSync(path, "utf8").slice(0, 40),
      `${readFileSync(path, "utf8")}\n`,
    ]) {
      writeFileSync(join(directory, "bad.key"), text, { mode: 0o600 });
      await tryFile(join(directory, "bad.key"), "malformed");
    }
    await tryFile(directory, "malformed");
    symlinkSync(path, join(directory, "mounted.key"));
    await vault.unseal([{ kind: "file", path: join(directory, "mounted.key") }]);
  });

  it("makes the key file 0600 and takes up an existing one", async (t) => {
    const { directory } = await newVault(t);
    assert.equal(statSync(join(directory, "root.key")).mode & 0o777, 0o600);
    const second = join(tempDir(t), "data");
    const vault = await createVault(second, { kind: "file", path: join(directory, "root.key") });
    t.after(() => vault.close());
    assert.deepEqual(
      readdirSync(second).filter((name) => name.endsWith(".key")),
      [],
    );
  });
});

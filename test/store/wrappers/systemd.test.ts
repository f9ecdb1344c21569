import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { randomBytes } from "../../../src/store/crypto.ts";
import type { UnlockProblemCode } from "../../../src/store/errors.ts";
import type { SystemdUnlocker } from "../../../src/store/wrappers/systemd.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { newVault, sealedBecause } from "../../support/vault-fixture.ts";

const NAME = "sidekey-root";

function credential(t: TestContext, content: Buffer | string, mode = 0o400): SystemdUnlocker {
  const directory = tempDir(t);
  writeFileSync(join(directory, NAME), content, { mode });
  chmodSync(join(directory, NAME), mode);
  return { kind: "systemd", name: NAME, directory };
}

describe("systemd wrapper", () => {
  it("opens the vault with a credential as raw bytes, as base64, or as a key file", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    const key = randomBytes(32);
    await vault.addWrapper(credential(t, key), [unlocker], "ana");
    const text = key.toString("base64");
    for (const content of [key, text, `${text}\n`, `sidekey root key v1\n${text}\n`]) {
      assert.deepEqual(await reopen().unseal([credential(t, content)]), { by: `systemd ${NAME}` });
    }
    await reopen().unseal([credential(t, key, 0o600)]);
  });

  it("says what is wrong with the credential", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    const good = credential(t, randomBytes(32));
    await vault.addWrapper(good, [unlocker], "ana");
    const cases: [SystemdUnlocker, UnlockProblemCode, RegExp][] = [
      [
        { ...good, directory: null },
        "missing",
        /CREDENTIALS_DIRECTORY is not set.*LoadCredentialEncrypted=sidekey-root/,
      ],
      [{ ...good, name: "other" }, "missing", /other does not exist; put LoadCredentialEncrypted=other/],
      [{ ...good, name: "../root.key" }, "malformed", /is not a plain file name/],
      [credential(t, randomBytes(32), 0o644), "permissions", /has mode 644.*readable for the service's user only/],
      [credential(t, randomBytes(32), 0o420), "permissions", /has mode 420/],
      [credential(t, "x"), "malformed", /is not a key: it has to hold 32 bytes/],
      [credential(t, randomBytes(33)), "malformed", /is not a key/],
      [credential(t, randomBytes(300)), "malformed", /is longer than 65 bytes/],
      [credential(t, randomBytes(32)), "wrong_key", /is the key of another vault/],
    ];
    for (const [systemd, code, words] of cases) {
      await assert.rejects(
        reopen().unseal([systemd]),
        (error: Error) => sealedBecause(code)(error) && words.test(error.message),
      );
    }
  });

  it("refuses a directory and a pipe instead of waiting for them, and tries the next way", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    await vault.addWrapper(credential(t, randomBytes(32)), [unlocker], "ana");
    const directory = tempDir(t);
    mkdirSync(join(directory, "folder"));
    execFileSync("mkfifo", ["-m", "600", join(directory, "pipe")]);
    for (const name of ["folder", "pipe"]) {
      const odd: SystemdUnlocker = { kind: "systemd", name, directory };
      await assert.rejects(reopen().unseal([odd]), sealedBecause("malformed"));
      await reopen().unseal([odd, unlocker]);
    }
    const pipe = { kind: "file", path: join(directory, "pipe") } as const;
    await assert.rejects(reopen().unseal([pipe]), sealedBecause("malformed"));
  });
});

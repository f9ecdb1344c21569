import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { summarizeCertificate } from "../../src/daemon/ingress/certificates.ts";
import { trustFiles } from "../../src/daemon/ingress/trust-bundle.ts";
import { ensureSetup, openRoot, type SetupOptions } from "../../src/daemon/setup.ts";
import { SetupError } from "../../src/daemon/setup-data-dir.ts";
import { Secret } from "../../src/secret.ts";
import { createVault } from "../../src/store/create-vault.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { tempDir } from "../support/temp-dir.ts";

const PACKAGE_ROOT = join(import.meta.dirname, "../..");
const NOW_MS = Date.UTC(2026, 0, 15);

function place(t: TestContext): SetupOptions {
  const dir = tempDir(t);
  return {
    dataDir: join(dir, "data"),
    configDir: join(dir, "config"),
    providersDir: join(dir, "config", "providers"),
    packageRoot: PACKAGE_ROOT,
    unlockers: [{ kind: "file", path: join(dir, "data", "root.key") }],
    nowMs: NOW_MS,
    actor: "test",
  };
}

async function withVault<T>(options: SetupOptions, fn: (vault: Vault) => T): Promise<T> {
  const vault = openVault(options.dataDir);
  try {
    await vault.unseal(options.unlockers);
    return fn(vault);
  } finally {
    vault.close();
  }
}

/** Everything that a finished setup has, and that it fits together. */
async function assertComplete(options: SetupOptions): Promise<void> {
  for (const name of ["daemon.yaml", "policy.yaml", "providers/fmp.yaml"]) {
    assert.ok(existsSync(join(options.configDir, name)), name);
  }
  assert.deepEqual(readdirSync(options.configDir).sort(), ["daemon.yaml", "policy.yaml", "prices.yaml", "providers"]);
  assert.equal(statSync(options.dataDir).mode & 0o777, 0o700);
  assert.equal(statSync(join(options.dataDir, "root.key")).mode & 0o777, 0o600);
  assert.equal(statSync(join(options.dataDir, "vault.db")).mode & 0o777, 0o600);
  await withVault(options, (vault) => {
    const root = openRoot(vault, "test");
    assert.ok(root !== null);
    root.privateKey.wipe();
    assert.equal(readFileSync(trustFiles(options.dataDir).root, "utf8"), root.certificatePem);
    assert.match(summarizeCertificate(root.certificatePem)?.commonName ?? "", /^sidekey root /);
    assert.deepEqual(
      vault.listCredentials().map((credential) => [credential.name, credential.hosts]),
      [["demo-main", ["demo.sidekey.test"]]],
    );
    assert.deepEqual(
      vault.listClientTokens().map((token) => token.client),
      ["app"],
    );
    assert.ok(vault.verifyAudit().ok);
  });
}

describe("setup", () => {
  test("the first call makes everything, the second changes nothing and shows no token", async (t) => {
    const options = place(t);
    const first = await ensureSetup(options);
    assert.equal(first.created, true);
    assert.match(first.clientToken ?? "", /^skc_/);
    await assertComplete(options);
    const pem = readFileSync(trustFiles(options.dataDir).root, "utf8");
    const second = await ensureSetup(options);
    assert.deepEqual(second, { created: false, notes: [] });
    await assertComplete(options);
    assert.equal(readFileSync(trustFiles(options.dataDir).root, "utf8"), pem);
  });

  test("whatever step a crash came after, the next call finishes the job", async (t) => {
    const [unlocker] = place(t).unlockers;
    assert.equal(unlocker.kind, "file");
    const crashes: readonly ((options: SetupOptions) => void | Promise<void>)[] = [
      ({ dataDir }) => void mkdirSync(dataDir, { mode: 0o700 }),
      ({ configDir }) => {
        mkdirSync(join(configDir, "providers.new"), { recursive: true });
        writeFileSync(join(configDir, "policy.yaml.new"), "version:");
      },
      ({ dataDir }) => {
        mkdirSync(dataDir, { mode: 0o700 });
        writeFileSync(join(dataDir, "vault.db.1234.new"), "", { mode: 0o600 });
      },
      async ({ dataDir, unlockers }) => (await createVault(dataDir, unlockers[0])).close(),
      async ({ dataDir, unlockers }) => {
        const vault = await createVault(dataDir, unlockers[0]);
        vault.putSealed("ca-root-certificate", Secret.copyOf(Buffer.from("of a root whose key was lost")), "test");
        vault.close();
      },
    ];
    for (const crash of crashes) {
      const options = place(t);
      await crash(options);
      const result = await ensureSetup(options);
      assert.match(result.clientToken ?? "", /^skc_/);
      await assertComplete(options);
    }
  });

  test("trust files that were deleted come back with the same root", async (t) => {
    const options = place(t);
    await ensureSetup(options);
    const { root, bundle, javaTruststore } = trustFiles(options.dataDir);
    const pem = readFileSync(root, "utf8");
    for (const file of [root, bundle, javaTruststore]) rmSync(file);
    await ensureSetup(options);
    assert.equal(readFileSync(root, "utf8"), pem);
    assert.ok(existsSync(bundle) && existsSync(javaTruststore));
  });

  test("what the operator revoked or removed after the first start stays so", async (t) => {
    const options = place(t);
    await ensureSetup(options);
    await withVault(options, (vault) => {
      vault.revokeClientTokens("app", "test");
      vault.removeCredential("demo-main", "test");
    });
    assert.equal((await ensureSetup(options)).clientToken, undefined);
    assert.equal(await withVault(options, (vault) => vault.listCredentials().length), 0);
  });

  test("config that is there is never changed", async (t) => {
    const options = place(t);
    mkdirSync(join(options.configDir, "providers"), { recursive: true });
    writeFileSync(join(options.configDir, "policy.yaml"), "mine");
    writeFileSync(join(options.configDir, "providers", "demo.yaml"), demoProvider());
    const { notes } = await ensureSetup(options);
    assert.match(notes[0] ?? "", /^copied daemon\.yaml, prices\.yaml to /);
    assert.equal(readFileSync(join(options.configDir, "policy.yaml"), "utf8"), "mine");
    assert.deepEqual(readdirSync(join(options.configDir, "providers")), ["demo.yaml"]);
  });

  test("a data directory with other things in it, or open to others, is refused by name", async (t) => {
    const foreign = place(t);
    mkdirSync(foreign.dataDir);
    writeFileSync(join(foreign.dataDir, "photo.jpg"), "");
    await assert.rejects(ensureSetup(foreign), (error: SetupError) => /--data/.test(error.nextStep));
    assert.deepEqual(readdirSync(foreign.dataDir), ["photo.jpg"]);

    const open = place(t);
    await ensureSetup(open);
    chmodSync(open.dataDir, 0o755);
    await assert.rejects(ensureSetup(open), (error: SetupError) => error.nextStep === `chmod 700 ${open.dataDir}`);

    const file = place(t);
    writeFileSync(file.dataDir, "");
    await assert.rejects(ensureSetup(file), SetupError);
  });

  test("an empty directory is tightened, as a fresh volume is", async (t) => {
    const options = place(t);
    mkdirSync(join(options.dataDir, "lost+found"), { recursive: true });
    chmodSync(options.dataDir, 0o755);
    const { notes } = await ensureSetup(options);
    assert.ok(notes.includes(`set the mode of ${options.dataDir} to 0700`));
    await assertComplete(options);
  });

  test("a vault whose key file is gone stays closed, and nothing new is made over it", async (t) => {
    const options = place(t);
    await ensureSetup(options);
    const before = readFileSync(join(options.dataDir, "vault.db"));
    rmSync(join(options.dataDir, "root.key"));
    await assert.rejects(ensureSetup(options), { name: "VaultSealedError" });
    assert.ok(!existsSync(join(options.dataDir, "root.key")));
    assert.deepEqual(readFileSync(join(options.dataDir, "vault.db")), before);
  });
});

function demoProvider(): string {
  return readFileSync(join(PACKAGE_ROOT, "config", "providers", "demo.yaml"), "utf8");
}

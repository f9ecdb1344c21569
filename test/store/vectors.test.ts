import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openVaultDatabase } from "../../src/store/database.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { programRuns, requires } from "../support/requirement.ts";
import { tempDir } from "../support/temp-dir.ts";
import { editDatabase, FAST_PASSPHRASE, fill, newVault, passphrase, reveal } from "../support/vault-fixture.ts";

const VECTOR = join(import.meta.dirname, "../vectors/vault-v1.json");
const OPENER = join(import.meta.dirname, "../vectors/open_vector.py");
const TABLES = ["vault", "wrappers", "categories", "credentials", "versions", "client_tokens", "sealed_blobs", "audit"];

type Row = Record<string, string | number | null>;

interface Dump {
  key_file: string;
  passphrase: string;
  anchor: string;
  tokens: string[];
  tables: Record<string, Row[]>;
  opened: Opened;
}

interface Opened {
  versions: Record<string, Record<string, string>>;
  blobs: Record<string, string>;
}

const PASSPHRASE = "correct horse battery staple";

/** All a vault is, as JSON: the rows (blobs as base64), the key file, the passphrase and the anchor. */
function dump(directory: string, tokens: string[], opened: Opened): Dump {
  const tables: Record<string, Row[]> = {};
  editDatabase(directory, (db) => {
    for (const table of TABLES) {
      const rows = db.prepare(`SELECT * FROM ${table}`).all() as Record<string, unknown>[];
      tables[table] = rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name, asText(value)])),
      );
    }
  });
  const [key_file, anchor] = ["root.key", "audit.anchor"].map((name) => readFileSync(join(directory, name), "utf8"));
  return { key_file: key_file ?? "", passphrase: PASSPHRASE, anchor: anchor ?? "", tokens, tables, opened };
}

function asText(value: unknown): string | number | null {
  return Buffer.isBuffer(value) ? value.toString("base64") : (value as string | number | null);
}

/** The dump as a data directory again. */
function restore(directory: string, content: Dump): void {
  openVaultDatabase(join(directory, "vault.db"), { create: true }).close();
  editDatabase(directory, (db) => {
    for (const [table, rows] of Object.entries(content.tables)) {
      const blobs = new Set<string>();
      const columns = db.pragma(`table_info(${table})`) as { name: string; type: string }[];
      for (const column of columns) if (column.type === "BLOB") blobs.add(column.name);
      for (const row of rows) {
        const values = Object.entries(row).map(([name, value]) =>
          blobs.has(name) ? Buffer.from(String(value), "base64") : value,
        );
        db.prepare(`INSERT INTO ${table} (${Object.keys(row)}) VALUES (${values.map(() => "?")})`).run(...values);
      }
    }
  });
  writeFileSync(join(directory, "root.key"), content.key_file, { mode: 0o600 });
  writeFileSync(join(directory, "audit.anchor"), content.anchor, { mode: 0o600 });
}

function openAll(vault: Vault): Opened {
  const opened: Opened = { versions: {}, blobs: {} };
  for (const credential of vault.listCredentials()) {
    for (const { number } of credential.versions) {
      opened.versions[`${credential.name}/${number}`] = reveal(vault.openFields(credential.id, number, "vector"));
    }
  }
  opened.blobs.ca = vault.openSealed("ca", "vector")?.use((bytes) => bytes.toString()) ?? "";
  return opened;
}

function openIndependently(file: string): Opened {
  const run = spawnSync("python3", [OPENER, file], { encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  return JSON.parse(run.stdout) as Opened;
}

const hasPynacl = () => programRuns("python3", ["-c", "import nacl"]);

describe("vault format 1", () => {
  it("still opens the vault that was written when the format was fixed", async (t) => {
    const content = JSON.parse(readFileSync(VECTOR, "utf8")) as Dump;
    for (const unlocker of [passphrase(content.passphrase), null]) {
      const directory = tempDir(t);
      restore(directory, content);
      const vault = openVault(directory, { cost: FAST_PASSPHRASE });
      t.after(() => vault.close());
      await vault.unseal([unlocker ?? { kind: "file", path: join(directory, "root.key") }]);
      assert.deepEqual(openAll(vault), content.opened);
      assert.equal(vault.verifyAudit().ok, true);
      const table = vault.loadTokenTable();
      assert.deepEqual(
        content.tokens.map((token) => table.verify(token, 0)?.client),
        ["app"],
      );
    }
  });

  it("is opened by an independent program, written from docs/vault-format.md", async (t) => {
    if (!(await requires(t, "Python with PyNaCl", hasPynacl))) return;
    const content = JSON.parse(readFileSync(VECTOR, "utf8")) as Dump;
    assert.deepEqual(openIndependently(VECTOR), content.opened);
  });

  it("is what this version writes, as the independent program sees it", async (t) => {
    if (!(await requires(t, "Python with PyNaCl", hasPynacl))) return;
    const { vault, directory, unlocker } = await newVault(t);
    fill(vault);
    await vault.addWrapper(passphrase(PASSPHRASE), [unlocker], "ana");
    const { token } = vault.addClientToken("app", {}, "ana");
    const opened = openAll(vault);
    const file = join(directory, "dump.json");
    writeFileSync(file, JSON.stringify(dump(directory, [token], opened), null, 1));
    assert.deepEqual(openIndependently(file), opened);
  });
});

import { openSync, readSync, statSync, writeSync } from "node:fs";
import { Secret, secretBuffer } from "../../src/secret.ts";
import { createVault } from "../../src/store/create-vault.ts";

/*
 * A process for memory scans: `node vault-opener.ts <directory> <file with a key>`. Stores the key, opens it many
 * times, wipes what it was given, says "idle" and waits to be looked at.
 */
const [directory = "", file = ""] = process.argv.slice(2);
const vault = await createVault(directory, { kind: "file", path: `${directory}/root.key` });
const bytes = secretBuffer(statSync(file).size);
readSync(openSync(file, "r"), bytes);
const key = Secret.adopt(bytes);
const owner = { kind: "service" as const };
const added = { name: "a", provider: "p", environment: "live", category: "demo", hosts: ["api.test"], owner };
const { id } = vault.addCredential(added, new Map([["api_key", key]]), "opener");
for (let i = 0; i < 100; i++) for (const opened of vault.openFields(id, 1, "scan").values()) opened.wipe();
key.wipe();
writeSync(1, "idle\n");
setInterval(() => undefined, 60_000);

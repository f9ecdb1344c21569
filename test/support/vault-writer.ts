import { writeSync } from "node:fs";
import { Secret } from "../../src/secret.ts";
import { openVault } from "../../src/store/vault.ts";

/*
 * A process that writes to a vault: `node vault-writer.ts <directory> <prefix> <count>`. Each change is named on
 * stdout, with a synchronous write, only after the store has returned: that line is the acknowledgement.
 */
const [directory = "", prefix = "", count = "0"] = process.argv.slice(2);
const vault = openVault(directory);
await vault.unseal([{ kind: "file", path: `${directory}/root.key` }]);
writeSync(1, "ready\n");
for (let i = 0; i < Number(count); i++) {
  const name = `${prefix}-${i}`;
  const fields = new Map([["api_key", Secret.copyOf(Buffer.from(`value of ${name}`))]]);
  const [provider, environment, category] = ["fmp", "live", "demo"];
  const owner = { kind: "service" as const };
  vault.addCredential({ name, provider, environment, category, hosts: ["api.test"], owner }, fields, "writer");
  writeSync(1, `${name}\n`);
}
vault.close();

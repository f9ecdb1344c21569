import { openSync, readSync, writeSync } from "node:fs";
import { secretBuffer } from "../../src/secret.ts";
import { openVault } from "../../src/store/vault.ts";
import { cutShares } from "../../src/store/wrappers/share-words.ts";
import type { Unlocker } from "../../src/store/wrappers.ts";

/*
 * A process for memory scans: `node wrapper-opener.ts <directory> <unlocker as JSON>`. Opens the vault several times,
 * seals it, says "idle" and waits to be looked at. For shares the JSON has the path of a file in place of `read`.
 */
const [directory = "", json = ""] = process.argv.slice(2);
const given = JSON.parse(json) as Unlocker & { sharesFile?: string };
const bytes = secretBuffer(4096);

const readShares = async () => {
  const length = readSync(openSync(given.sharesFile ?? "", "r"), bytes, 0, bytes.length, 0);
  const shares = cutShares(bytes.subarray(0, length));
  bytes.fill(0);
  return shares;
};
const unlocker: Unlocker = given.kind === "shares" ? { kind: "shares", read: readShares } : given;
const vault = openVault(directory);
for (let i = 0; i < 5; i++) {
  await vault.unseal([unlocker]);
  vault.seal();
}
writeSync(1, "idle\n");
setInterval(() => undefined, 60_000);

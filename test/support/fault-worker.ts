import { rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { checkDead, checkSurvivor, type Ending, expectedStates } from "./fault-check.ts";
import { FaultControl, type FaultMode } from "./fault-control.ts";
import { type FaultOperation, type FaultPlace, faultOperation } from "./fault-operations.ts";
import { copyDirectory, placeAt, placeFor, prepareTemplate } from "./fault-state.ts";

/*
 * A process under the fault shim. `node fault-worker.ts every <root> <control> <operation>` runs the operation with
 * each kind of error at each call and prints one JSON line per run. `node fault-worker.ts once <directory> <control>
 * <operation> <mode> <n>` runs it once, prints "done" after it returned, and is expected to be killed.
 */

/** The error modes, and `crash`: from call n on nothing reaches the disk, as if the process had died there. */
const ERRORS = ["eio", "enospc", "short", "torn", "crash"] as const;

const [command = "", root = "", controlPath = "", name = "", mode = "kill", at = "0"] = process.argv.slice(2);
const control = FaultControl.open(controlPath);
const operation = faultOperation(name);
if (command === "once") await once();
else await every();

async function once(): Promise<void> {
  const place = placeAt(root);
  const vault = await unsealed(operation, place);
  control.arm(Number(at), mode as FaultMode);
  if (operation.on === "vault" && vault !== null) await operation.run(vault, place);
  else if (operation.on !== "vault") await operation.run(place);
  writeSync(1, "done\n");
  control.disarm();
  vault?.close();
}

async function every(): Promise<void> {
  const template = join(root, "template");
  await prepareTemplate(template);
  const expected = await expectedStates(operation, template, join(root, "expected"));
  for (const kind of ERRORS) {
    for (let n = 1; ; n++) {
      const directory = join(root, `${kind}-${n}`);
      const place = placeFor(operation, template, directory);
      const vault = await unsealed(operation, place);
      control.arm(n, kind === "crash" ? "eio" : kind, kind === "crash");
      const ending = await attempt(operation, place, vault);
      const { count, fired } = control.disarm();
      const call = control.calls(count)[n - 1] ?? "none";
      const problems =
        kind === "crash"
          ? await crashed(place, vault, (copy) => checkDead(operation, copy, ending.acknowledged, expected))
          : await checkSurvivor(operation, place, { ending, vault }, expected);
      writeSync(1, `${JSON.stringify({ mode: kind, n, call, acknowledged: ending.acknowledged, problems })}\n`);
      rmSync(directory, { recursive: true, force: true });
      if (fired === 0) break;
    }
  }
}

/** The files as they are now, without what closing the handle would still do to them. */
async function crashed(
  { directory }: FaultPlace,
  vault: Vault | null,
  check: (copy: string) => Promise<string[]>,
): Promise<string[]> {
  const copy = `${directory}-copy`;
  copyDirectory(directory, copy);
  vault?.close();
  try {
    return await check(copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

async function unsealed(operation: FaultOperation, place: FaultPlace): Promise<Vault | null> {
  if (operation.on !== "vault") return null;
  const vault = openVault(place.directory, place.options);
  await vault.unseal([place.unlocker]);
  return vault;
}

async function attempt(operation: FaultOperation, place: FaultPlace, vault: Vault | null): Promise<Ending> {
  try {
    if (operation.on === "vault" && vault !== null) await operation.run(vault, place);
    else if (operation.on !== "vault") await operation.run(place);
    return { acknowledged: true, error: null };
  } catch (error) {
    return { acknowledged: false, error };
  }
}

import { rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { checkDead, checkSurvivor, type Ending, expectedStates } from "./fault-check.ts";
import { FaultControl, type FaultMode } from "./fault-control.ts";
import { type FaultOperation, type FaultPlace, faultOperation } from "./fault-operations.ts";
import { copyDirectory, placeAt, placeFor, prepareTemplate } from "./fault-state.ts";
import { chosenCalls } from "./faults.ts";

/*
 * A process under the fault shim. `node fault-worker.ts every <root> <control> <operation> <extent>` runs the operation with
 * each kind of error and prints one JSON line per run; an extent follows: "all" tries each at each call, "sample" tries
 * those that differ least only at one call of each sort. `node fault-worker.ts once <directory> <control> <operation>
 * <extent> <mode> <n>` runs it once, prints "done" after it returned, and is expected to be killed.
 */

/** The error modes, and `crash`: from call n on nothing reaches the disk, as if the process had died there. */
const ERRORS = ["eio", "enospc", "short", "torn", "crash"] as const;
/** Where only the text of the error differs, or the system hides the fault from the program. */
const SIMILAR: readonly string[] = ["enospc", "short"];

const [command = "", root = "", controlPath = "", name = "", extent = "all", mode = "kill", at = "0"] =
  process.argv.slice(2);
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
  vault?.close();
}

async function every(): Promise<void> {
  const template = join(root, "template");
  await prepareTemplate(template);
  const expected = await expectedStates(operation, template, join(root, "expected"));
  const calls = await callsWithoutFault(template);
  for (const kind of ERRORS) {
    const chosen = chosenCalls(calls, extent === "sample" && SIMILAR.includes(kind) ? "sample" : "all");
    const possible =
      kind === "short" || kind === "torn" ? chosen.filter((n) => calls[n - 1]?.startsWith("write")) : chosen;
    // One call more than there were: the last run is the one without a fault.
    for (const n of [...possible, calls.length + 1]) {
      const directory = join(root, `${kind}-${n}`);
      const place = placeFor(operation, template, directory);
      const vault = await unsealed(operation, place);
      control.arm(n, kind === "crash" ? "eio" : kind, kind === "crash");
      const ending = await attempt(operation, place, vault);
      const { count } = control.disarm();
      const call = control.calls(count)[n - 1] ?? "none";
      const problems =
        kind === "crash"
          ? await crashed(place, vault, (copy) => checkDead(operation, copy, ending.acknowledged, expected))
          : await checkSurvivor(operation, place, { ending, vault }, expected);
      writeSync(1, `${JSON.stringify({ mode: kind, n, call, acknowledged: ending.acknowledged, problems })}\n`);
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

async function callsWithoutFault(template: string): Promise<string[]> {
  const place = placeFor(operation, template, join(root, "counted"));
  const vault = await unsealed(operation, place);
  control.arm(0, "eio");
  await attempt(operation, place, vault);
  const calls = control.calls(control.disarm().count);
  vault?.close();
  return calls;
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

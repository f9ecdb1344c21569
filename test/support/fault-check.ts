import { isDeepStrictEqual } from "node:util";
import { describeFailure } from "../../src/cli/failure.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import type { FaultOperation, FaultPlace } from "./fault-operations.ts";
import { describeVault, leftovers, placeAt, placeFor, type VaultState } from "./fault-state.ts";

/** The two states of an operation: it has not happened, it has. */
export interface Expected {
  readonly before: VaultState | null;
  readonly after: VaultState | null;
}

/** What a run ended with: acknowledged, the error that was thrown, or no word (its process died). */
export type Ending = { readonly acknowledged: boolean; readonly error: unknown };

/** One of these must be in a message: what to do. */
const NEXT_STEP =
  /free some space|check the disk|make .* writable|make it readable|try again|restore|put .* back|\bUse it\b/i;

/** Runs the operation once without faults. */
export async function expectedStates(operation: FaultOperation, template: string, scratch: string): Promise<Expected> {
  const place = placeFor(operation, template, scratch);
  const before = await describeVault(place);
  await runAgain(operation, place);
  return { before, after: await describeVault(place) };
}

/** Runs an operation on files, through a vault of its own. */
export async function runAgain(operation: FaultOperation, place: FaultPlace): Promise<void> {
  if (operation.on !== "vault") return void (await operation.run(place));
  const vault = openVault(place.directory, place.options);
  try {
    await vault.unseal([place.unlocker]);
    await operation.run(vault, place);
  } finally {
    vault.close();
  }
}

/** What is wrong with the text of an error, if anything. */
export function errorProblems(error: unknown): string[] {
  const { message } = describeFailure(error);
  if (message.startsWith("internal error")) return [`the error is not one of ours: ${detailOf(error)}`];
  const problems = NEXT_STEP.test(message) ? [] : [`the error names no next step: ${message}`];
  if (/\n\s+at /.test(message)) problems.push(`the error shows a stack: ${message}`);
  if (/edited|planted|tampered/.test(message)) problems.push(`a failing disk looks like tampering: ${message}`);
  return problems;
}

function detailOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

/**
 * After a call failed and the process went on: an error means that nothing happened, the same handle goes on to work,
 * and what was acknowledged is there.
 */
export async function checkSurvivor(
  operation: FaultOperation,
  place: FaultPlace,
  run: { readonly ending: Ending; readonly vault: Vault | null },
  expected: Expected,
): Promise<string[]> {
  const { ending, vault } = run;
  const problems = ending.acknowledged ? [] : errorProblems(ending.error);
  const seen = await problemsOfState(place, (state) => {
    if (ending.acknowledged) return fits(state, [expected.after], "acknowledged");
    // Who opens files of his own may fail after the change, in closing them; a handle must not.
    const allowed = operation.on === "vault" ? [expected.before] : [expected.before, expected.after];
    return fits(state, allowed, "failed", operation.between);
  });
  problems.push(...seen.problems);
  const done = isDeepStrictEqual(seen.state, expected.after);
  if (!ending.acknowledged && (!done || operation.on === "vault")) {
    problems.push(...(await again(() => retry(operation, place, vault), place, expected)));
  }
  vault?.close();
  return [...problems, ...(await checkLeftovers(operation, place))];
}

async function retry(operation: FaultOperation, place: FaultPlace, vault: Vault | null): Promise<void> {
  if (operation.on === "vault" && vault !== null) await operation.run(vault, place);
  else await runAgain(operation, place);
}

/** After the process died: nothing half, what was acknowledged is there, and the operation can be done after all. */
export async function checkDead(
  operation: FaultOperation,
  directory: string,
  acknowledged: boolean,
  expected: Expected,
): Promise<string[]> {
  const place = placeAt(directory);
  const seen = await problemsOfState(place, (state) =>
    acknowledged
      ? fits(state, [expected.after], "acknowledged")
      : fits(state, [expected.before, expected.after], "unfinished", operation.between),
  );
  const problems = seen.problems;
  if (problems.length === 0 && !isDeepStrictEqual(seen.state, expected.after)) {
    problems.push(...(await again(() => runAgain(operation, place), place, expected)));
  }
  return [...problems, ...(await checkLeftovers(operation, place))];
}

async function problemsOfState(
  place: FaultPlace,
  judge: (state: VaultState | null) => string[],
): Promise<{ problems: string[]; state: VaultState | null }> {
  try {
    const state = await describeVault(place);
    return { problems: judge(state), state };
  } catch (error) {
    return { problems: [`the vault does not open: ${detailOf(error)}`], state: null };
  }
}

function fits(
  state: VaultState | null,
  allowed: readonly (VaultState | null)[],
  what: string,
  between: (state: VaultState) => boolean = () => false,
): string[] {
  if (allowed.some((each) => isDeepStrictEqual(state, each))) return [];
  if (state !== null && between(state)) return [];
  return [`${what}, and the state is ${JSON.stringify(state)}`];
}

/** Without a fault the operation must work now. */
async function again(run: () => Promise<void>, place: FaultPlace, { after }: Expected): Promise<string[]> {
  try {
    await run();
  } catch (error) {
    return [`it still fails when the fault is gone: ${detailOf(error)}`];
  }
  return (await problemsOfState(place, (state) => fits(state, [after], "done again"))).problems;
}

/** Files that stay behind although a start has come by since. */
async function checkLeftovers(operation: FaultOperation, place: FaultPlace): Promise<string[]> {
  if (operation.on === "empty directory") await describeVault(place).catch(() => null);
  return leftovers(place.directory).map((name) => `${name} stays behind`);
}

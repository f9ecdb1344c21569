import { needsRewrap, rewrapSome } from "../../store/rewrap.ts";
import type { Vault } from "../../store/vault.ts";

/** Values per step: a step holds the event loop for some milliseconds only. */
const STEP_VALUES = 50;
const LOOK_EVERY_MS = 10_000;
const PAUSE_MS = 50;

/** Finishes category rotations that a command began: some data keys at a time, also after a restart. */
export function startRewrapping(vault: Vault, onFailure: (error: unknown) => void): { close(): void } {
  let timer: NodeJS.Timeout;
  const step = (): void => {
    let more = false;
    try {
      if (!vault.sealed && vault.read(needsRewrap)) {
        more = vault.write((transaction) => rewrapSome(transaction, STEP_VALUES, "sidekey")).more;
      }
    } catch (error) {
      onFailure(error);
    }
    timer = setTimeout(step, more ? PAUSE_MS : LOOK_EVERY_MS).unref();
  };
  timer = setTimeout(step, LOOK_EVERY_MS).unref();
  return { close: () => clearTimeout(timer) };
}

import { Secret } from "../secret.ts";
import { joinBytes } from "../store/join-bytes.ts";
import { countWords, cutShares, SHARE_WORDS } from "../store/wrappers/share-words.ts";
import type { ShareSet } from "../store/wrappers/shares.ts";
import { readSideFile } from "../store/wrappers/side-file.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./failure.ts";
import { collectSecrets } from "./secret-input.ts";

const MAX_FILE_BYTES = 64 * 1024;

/** Shares in words, as the store takes them. The store, or else the caller, wipes them. */
export type ReadShares = (set: ShareSet) => Promise<readonly Secret[]>;

/**
 * Asks for as many shares as are needed, one after another. A share may be typed or pasted over several lines.
 * @param hidden not shown while typed; they are shown only where they have just been printed
 * @throws CliError without a terminal, and when it is cancelled
 */
export async function promptShares(cli: Cli, { set, threshold }: ShareSet, hidden = true): Promise<readonly Secret[]> {
  // What the prompter itself would say is about keys that are being stored.
  if (!cli.prompter.interactive) {
    throw new CliError("no terminal to ask at; run it at one, or name files under `unlock:` in daemon.yaml");
  }
  const shares: Secret[] = [];
  try {
    while (shares.length < threshold) {
      const label = `Share ${shares.length + 1} of ${threshold} (set ${set}, ${SHARE_WORDS} words)`;
      shares.push(await askShare(cli, label, hidden));
    }
    return shares;
  } catch (error) {
    for (const share of shares) share.wipe();
    throw error;
  }
}

/** An empty line ends a share that has too few words, which is then refused by its number of words. */
async function askShare(cli: Cli, label: string, hidden: boolean): Promise<Secret> {
  let typed = await cli.prompter.ask(label, { hidden });
  for (;;) {
    const words = typed.use(countWords);
    if (words >= SHARE_WORDS) return typed;
    const line = await cli.prompter.ask(`  ${words} of ${SHARE_WORDS} words; the rest`, { hidden });
    if (line.length === 0) return typed;
    const both = Secret.adopt(joinBytes([typed, " ", line]));
    typed.wipe();
    line.wipe();
    typed = both;
  }
}

/** Shares from files, one or more in each. @throws UnlockError missing, permissions or malformed */
export function readShareFiles(paths: readonly string[]): Secret[] {
  return paths.flatMap((path) => {
    const content = readSideFile(path, { maxBytes: MAX_FILE_BYTES, nextStep: "it has to hold a share in words" });
    const shares = content.use(cutShares);
    content.wipe();
    return shares;
  });
}

/** Shares from stdin to its end; line breaks do not matter. */
export async function readShareInput(cli: Cli): Promise<Secret[]> {
  const wanted = [{ name: "shares", label: "Shares", secret: true, hint: null }];
  const typed = await collectSecrets(wanted, { stdin: true, files: [] }, { input: cli.stdin, prompter: cli.prompter });
  const whole = typed.get("shares");
  const shares = whole?.use(cutShares) ?? [];
  whole?.wipe();
  return shares;
}

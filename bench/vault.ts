import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../src/secret.ts";
import { createBackup } from "../src/store/backup-write.ts";
import { rotateCategory } from "../src/store/categories.ts";
import { createVault } from "../src/store/create-vault.ts";
import { addCredential } from "../src/store/credentials.ts";
import { replaceRoot } from "../src/store/replace-root.ts";
import { countToRewrap, needsRewrap, rewrapSome } from "../src/store/rewrap.ts";
import type { Vault } from "../src/store/vault.ts";
import { pipelineCost } from "./pipeline.ts";
import { startScript } from "./process.ts";

const CREDENTIALS = 10_000;
const PER_TRANSACTION = 1_000;
/** Values per step of a category rotation, as the command has it. */
const PER_STEP = 200;

/** One line of text per measurement. */
export async function* vaultRows(quick: boolean): AsyncGenerator<string> {
  const directory = mkdtempSync(join(tmpdir(), "sidekey-bench-vault-"));
  const vault = await filledVault(directory, CREDENTIALS);
  try {
    yield* openingRows(directory, quick ? 3 : 9);
    yield* useRows(vault, quick);
    yield* writeRows(vault, quick ? 10 : 50);
    yield* rotationRows(vault, directory);
    yield* backupRows(vault, directory);
  } finally {
    vault.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function filledVault(directory: string, count: number): Promise<Vault> {
  const vault = await createVault(directory, { kind: "file", path: join(directory, "root.key") });
  for (let from = 0; from < count; from += PER_TRANSACTION) {
    vault.write((transaction) => {
      for (let n = from; n < from + PER_TRANSACTION; n++) addOne(transaction, n);
    });
  }
  return vault;
}

function addOne(transaction: Parameters<typeof addCredential>[0], n: number): void {
  const owner = { kind: "service" as const };
  const added = { name: `c-${n}`, provider: "bench", environment: "live", category: "ai", hosts: ["localhost"], owner };
  addCredential(transaction, added, value(`sk-bench-${n}`), "bench");
}

function value(text: string): Map<string, Secret> {
  return new Map([["api_key", Secret.copyOf(Buffer.from(text))]]);
}

interface Opening {
  readonly file: number;
  readonly unseal: number;
  readonly load: number;
  readonly firstUse: number;
  readonly cpu: number;
}

/** Each in a process of its own. */
async function* openingRows(directory: string, rounds: number): AsyncGenerator<string> {
  const openings: Opening[] = [];
  for (let n = 0; n < rounds; n++) {
    const { line, stop } = await startScript("vault-open.ts", "proxy", directory);
    openings.push(JSON.parse(line) as Opening);
    await stop();
  }
  const middle = (pick: (opening: Opening) => number): string => median(openings.map(pick)).toFixed(1);
  const ready = middle(({ file, unseal, load }) => file + unseal + load);
  const parts = `open ${middle((o) => o.file)}, unseal ${middle((o) => o.unseal)}, load and verify ${middle((o) => o.load)}; ${middle((o) => o.cpu)} of CPU`;
  yield `opened and ready    ${ready} ms   (goal <= 300; ${parts})`;
  yield `first use           ${middle((opening) => opening.firstUse)} ms   (opens the secret, with its audit entry on disk)`;
}

/**
 * The whole pipeline with a key that is open already, and the same with a provider that takes none, in turn. The best
 * of each is compared: what else the machine does adds to one or the other, and never takes away.
 */
async function* useRows(vault: Vault, quick: boolean): AsyncGenerator<string> {
  const [exchanges, rounds] = quick ? [20_000, 3] : [50_000, 7];
  let [withKey, without] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let n = 0; n < rounds; n++) {
    withKey = Math.min(withKey, await pipelineCost(exchanges));
    without = Math.min(without, await pipelineCost(exchanges, "keyless"));
  }
  const added = (withKey - without).toFixed(1);
  yield `warm use            ${added} us added to a request   (goal <= 5; ${(withKey / without).toFixed(2)} times one without a key)`;
  const [first] = vault.listCredentials();
  if (first === undefined) return;
  const opens = timed(quick ? 20 : 100, () => {
    for (const secret of vault.openFields(first.id, 1, "bench").values()) secret.wipe();
  });
  yield `cold use            ${median(opens).toFixed(1)} ms   (after the idle time; an audit entry each)`;
}

async function* writeRows(vault: Vault, rounds: number): AsyncGenerator<string> {
  let n = 0;
  const writes = timed(rounds, () => vault.addVersion("c-0", value(`sk-next-${n++}`), "current", "bench"));
  yield `one write           ${median(writes).toFixed(1)} ms   (a new current version)`;
  const small = await smallVaultWrites(rounds);
  yield `                    ${(median(writes) / median(small)).toFixed(2)} times that with 10 credentials`;
  const loads = timed(Math.max(3, rounds / 10), () => vault.listCredentials());
  yield `list all            ${median(loads).toFixed(0)} ms   (every row verified again, as after each change)`;
}

/** New keys for everything, as `vault rotate` and `vault rotate --root` give them. */
async function* rotationRows(vault: Vault, directory: string): AsyncGenerator<string> {
  vault.write((transaction) => rotateCategory(transaction, "ai", "bench"));
  const total = vault.read(countToRewrap);
  const steps: number[] = [];
  while (vault.read(needsRewrap)) {
    steps.push(...timed(1, () => vault.write((transaction) => rewrapSome(transaction, PER_STEP, "bench"))));
  }
  const all = steps.reduce((sum, ms) => sum + ms, 0);
  yield `rotate ${total} DEKs   ${(all / 1000).toFixed(2)} s   (${steps.length} transactions of ${PER_STEP}, the longest ${Math.max(...steps).toFixed(0)} ms)`;
  const unlockers = [{ kind: "file" as const, path: join(directory, "root.key") }];
  const startedAt = performance.now();
  await replaceRoot(vault, { unlockers, drop: [], actor: "bench", announce: async () => {} });
  yield `replace the root key ${((performance.now() - startedAt) / 1000).toFixed(2)} s   (every row has a new MAC)`;
}

async function* backupRows(vault: Vault, directory: string): AsyncGenerator<string> {
  const to = join(directory, "bench.backup");
  const made = { directory, to, usage: false, actor: "bench", version: "bench" };
  const startedAt = performance.now();
  await createBackup(vault, made);
  const seconds = (performance.now() - startedAt) / 1000;
  const megabytes = statSync(to).size / 1024 / 1024;
  yield `backup              ${(megabytes / seconds).toFixed(0)} MB/s   (${megabytes.toFixed(0)} MB in ${seconds.toFixed(2)} s, with copy, check and hash)`;
}

async function smallVaultWrites(rounds: number): Promise<number[]> {
  const directory = mkdtempSync(join(tmpdir(), "sidekey-bench-vault-"));
  const vault = await createVault(directory, { kind: "file", path: join(directory, "root.key") });
  try {
    vault.write((transaction) => {
      for (let n = 0; n < 10; n++) addOne(transaction, n);
    });
    return timed(rounds, () => vault.addVersion("c-0", value("sk-next"), "current", "bench"));
  } finally {
    vault.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Milliseconds of each of `rounds` calls. */
function timed(rounds: number, call: () => unknown): number[] {
  return Array.from({ length: rounds }, () => {
    const startedAt = performance.now();
    call();
    return performance.now() - startedAt;
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

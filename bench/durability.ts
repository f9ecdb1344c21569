import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createVault } from "../src/store/create-vault.ts";
import { openVault, type Vault } from "../src/store/vault.ts";

/** Writers are killed with SIGKILL while they write, and what they had acknowledged is looked for. */

const WRITER = fileURLToPath(new URL("../test/support/vault-writer.ts", import.meta.url));
/** Processes that write at the same time; they die together. */
const WRITERS = 2;
/** A vault is replaced by a new one after so many kills, so that checking it stays cheap. */
const KILLS_PER_VAULT = 50;
const LONGEST_LIFE_MS = 60;

export interface DurabilityResult {
  readonly kills: number;
  readonly acknowledged: number;
  /** Acknowledged, and not there or with another value. */
  readonly lost: number;
  /** Openings after a kill that failed, or where the audit chain did not hold. */
  readonly broken: readonly string[];
  readonly seconds: number;
}

export async function durability(kills: number): Promise<DurabilityResult> {
  const startedAt = performance.now();
  const total = { kills: 0, acknowledged: 0, lost: 0, broken: [] as string[] };
  while (total.kills < kills) {
    const directory = mkdtempSync(join(tmpdir(), "sidekey-durability-"));
    try {
      (await createVault(directory, unlocker(directory))).close();
      for (let round = 0; round < KILLS_PER_VAULT / WRITERS && total.kills < kills; round++) {
        const names = await killedRound(directory, round);
        total.kills += WRITERS;
        total.acknowledged += names.length;
        await check(directory, names, total);
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  return { ...total, seconds: (performance.now() - startedAt) / 1000 };
}

/** Lives of different lengths after the first write, the same in each run, so that the kills spread over the whole of a write. */
async function killedRound(directory: string, round: number): Promise<string[]> {
  const writers = Array.from({ length: WRITERS }, (_, at) => startWriter(directory, `r${round}w${at}`));
  await Promise.all(writers.map((writer) => writer.writing));
  await new Promise((resolve) => setTimeout(resolve, (round * 7.3) % LONGEST_LIFE_MS));
  for (const { child } of writers) child.kill("SIGKILL");
  await Promise.all(writers.map((writer) => writer.closed));
  return writers.flatMap((writer) => writer.acknowledged());
}

function startWriter(directory: string, prefix: string) {
  const child: ChildProcess = spawn(process.execPath, [WRITER, directory, prefix, "100000"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  const writing = new Promise<void>((resolve) => {
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(`${prefix}-0\n`)) resolve();
    });
    child.once("close", () => resolve());
  });
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  // A line that the kill cut was not acknowledged.
  const whole = (): string[] => output.slice(0, output.lastIndexOf("\n")).split("\n");
  return { child, writing, closed, acknowledged: () => whole().filter((line) => line.startsWith(`${prefix}-`)) };
}

async function check(
  directory: string,
  names: readonly string[],
  total: { lost: number; broken: string[] },
): Promise<void> {
  const vault = openVault(directory);
  try {
    await vault.unseal([unlocker(directory)]);
    const chain = vault.verifyAudit();
    if (!chain.ok) total.broken.push(chain.problem);
    total.lost += names.length - countStored(vault, names);
  } catch (error) {
    total.broken.push(error instanceof Error ? error.message : String(error));
    total.lost += names.length;
  } finally {
    vault.close();
  }
}

function countStored(vault: Vault, names: readonly string[]): number {
  const byName = new Map(vault.listCredentials().map((credential) => [credential.name, credential]));
  return names.filter((name) => {
    const credential = byName.get(name);
    if (credential === undefined) return false;
    const value = vault.openFields(credential.id, 1, "durability").get("api_key");
    const good = value?.use((bytes) => bytes.equals(Buffer.from(`value of ${name}`))) ?? false;
    value?.wipe();
    return good;
  }).length;
}

function unlocker(directory: string): { kind: "file"; path: string } {
  return { kind: "file", path: join(directory, "root.key") };
}

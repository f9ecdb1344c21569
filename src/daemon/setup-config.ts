import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

export interface ConfigInstall {
  readonly configDir: string;
  readonly packageRoot: string;
  /** The vault is to be opened with a passphrase: a daemon.yaml that is copied says so. */
  readonly passphrase?: boolean;
}

const ENTRIES = ["daemon.yaml", "policy.yaml", "providers", "prices.yaml"] as const;

/**
 * Copies what the config directory lacks from the package's samples. Each entry appears whole or
 * not at all, and what exists is never changed.
 * @returns notes on what was copied
 */
export function installConfig(options: ConfigInstall): string[] {
  const samples = join(options.packageRoot, "config");
  if (resolve(samples) === resolve(options.configDir)) return [];
  const missing = ENTRIES.filter((entry) => !existsSync(join(options.configDir, entry)));
  if (missing.length === 0) return [];
  mkdirSync(options.configDir, { recursive: true });
  for (const entry of missing) {
    const target = join(options.configDir, entry);
    const draft = `${target}.new`;
    rmSync(draft, { recursive: true, force: true });
    cpSync(join(samples, entry), draft, { recursive: true });
    if (entry === "daemon.yaml" && options.passphrase === true) askForPassphrase(draft);
    renameSync(draft, target);
  }
  return [`copied ${missing.join(", ")} to ${options.configDir}`];
}

function askForPassphrase(file: string): void {
  writeFileSync(file, `${readFileSync(file, "utf8")}\nunlock: [ { passphrase: prompt } ]\n`);
}

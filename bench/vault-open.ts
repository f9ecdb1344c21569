import { watchVault } from "../src/daemon/vault-view.ts";
import { openVault } from "../src/store/vault.ts";

/*
 * One opening, in a process of its own, because the first time is the one that counts: reads a data directory from
 * stdin, prints how long each step took in ms, and the CPU that they took together, which a busy machine changes less.
 */
process.stdin.setEncoding("utf8").once("data", (line: string) => void open(JSON.parse(line)));

async function open(directory: string): Promise<void> {
  const before = process.cpuUsage();
  const marks = [performance.now()];
  const vault = openVault(directory);
  marks.push(performance.now());
  await vault.unseal([{ kind: "file", path: `${directory}/root.key` }]);
  marks.push(performance.now());
  // As the daemon does it before it listens: every row is verified and kept, without a secret.
  const view = watchVault(vault, () => {}, fail);
  marks.push(performance.now());
  const used = process.cpuUsage(before);
  const cpu = (used.user + used.system) / 1000;
  const [credential] = view.list();
  if (credential === undefined) throw new Error("the vault is empty");
  for (const secret of vault.openFields(credential.id, 1, "bench").values()) secret.wipe();
  marks.push(performance.now());
  const [file, unseal, load, firstUse] = marks.slice(1).map((mark, at) => mark - (marks[at] ?? 0));
  process.stdout.write(`${JSON.stringify({ file, unseal, load, firstUse, cpu })}\n`);
  view.close();
  vault.close();
  process.exit(0);
}

function fail(error: unknown): never {
  throw error;
}

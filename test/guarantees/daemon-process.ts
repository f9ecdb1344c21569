import { readFileSync, writeSync } from "node:fs";
import { startDaemon } from "../../src/daemon/daemon.ts";
import { SecretPool } from "../../src/daemon/pipeline/secret-pool.ts";
import { daemonConfig, type ProcessPlan } from "./separate-daemon.ts";

/*
 * A daemon in a process of its own: `node daemon-process.ts <plan.json>`. It says on stdout where it listens. A line on
 * stdin asks for something: `report <file>` writes node's diagnostic report, `stop` ends it. The vault is filled by
 * somebody else, so no key has ever been in this process unless the daemon opened it.
 */
const plan = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as ProcessPlan;

/** Only when a test wants to see its own scan fail: keeps what the daemon must not keep. */
const kept: unknown[] = [];
if (plan.leak !== null) {
  const acquire = SecretPool.prototype.acquire;
  SecretPool.prototype.acquire = function leaking(wanted) {
    const opened = acquire.call(this, wanted);
    for (const { render } of [...wanted.plan.headers, ...wanted.plan.query]) {
      opened
        .bytesFor(render)
        .use((bytes) => kept.push(plan.leak === "string" ? bytes.toString("latin1") : Buffer.from(bytes)));
    }
    return opened;
  };
}

const daemon = await startDaemon({
  config: daemonConfig(plan),
  version: "test",
  unlockers: [{ kind: "file", path: plan.rootKey }],
  writeLog: (bytes) => writeSync(2, bytes),
});
writeSync(1, `${JSON.stringify(daemon.listening)}\n`);

process.stdin.setEncoding("utf8").on("data", (text: string) => {
  for (const line of text.split("\n")) void obey(line.split(" "));
});

async function obey([command, file = ""]: string[]): Promise<void> {
  if (command === "report") {
    process.report.writeReport(file);
    writeSync(1, "reported\n");
  }
  if (command !== "stop") return;
  await daemon.stop();
  process.exit(kept.length > 1e9 ? 1 : 0);
}

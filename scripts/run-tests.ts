import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { relative, resolve, sep } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";

const ROOT = resolve(import.meta.dirname, "..");
const ALL_TESTS = "test/**/*.test.ts";
/** These start daemons and other programs, try every byte of a file, or a long history; everything else is a unit test. */
const NOT_UNIT = [
  "test/e2e/",
  "test/clients/",
  "test/guarantees/",
  "test/cli/commands/",
  "test/cli/main.test.ts",
  "test/cli/bad-input.test.ts",
  "test/cli/foreground.test.ts",
  "test/daemon/ingress/certificates-clients.test.ts",
  "test/daemon/monitor/automatic-rotation.test.ts",
  "test/daemon/monitor/backups.test.ts",
  "test/daemon/pipeline/provider-limits.property.test.ts",
  "test/daemon/setup.test.ts",
  "test/store/backup-",
  "test/store/durability.test.ts",
  "test/store/memory.test.ts",
  "test/store/rows.test.ts",
  "test/store/submission.test.ts",
  "test/store/usage-crash.test.ts",
  "test/store/usage-recompute.test.ts",
  "test/store/wrappers/",
  "test/support/faults.test.ts",
];
const TEST_TIMEOUT_MS = 5 * 60_000;
const WATCHDOG = new URL("./test-watchdog.ts", import.meta.url).href;

const USAGE = "usage: node scripts/run-tests.ts [--unit] [file or glob, relative to the repository root]...";

/**
 * The test files that the arguments select, absolute and sorted.
 * @throws Error on an unknown option and when nothing is selected: a run of no tests must not pass.
 */
function selectFiles(args: readonly string[]): string[] {
  const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--unit");
  if (unknown) throw new Error(`unknown option ${unknown}; ${USAGE}`);
  const patterns = args.filter((arg) => arg !== "--unit");
  const unitOnly = args.includes("--unit");
  const files = new Set<string>();
  for (const pattern of patterns.length > 0 ? patterns : [ALL_TESTS]) {
    const matches = globSync(pattern, { cwd: ROOT }).map((file) => relative(ROOT, resolve(ROOT, file)));
    if (matches.length === 0) throw new Error(`no test file matches ${pattern}; ${USAGE}`);
    for (const file of matches) files.add(file.split(sep).join("/"));
  }
  const selected = [...files].filter((file) => !(unitOnly && NOT_UNIT.some((folder) => file.startsWith(folder))));
  if (selected.length === 0) throw new Error(`--unit leaves no test file; ${USAGE}`);
  return selected.sort().map((file) => resolve(ROOT, file));
}

function runTests(files: readonly string[]): void {
  // Each file is a process: most of its time went into reading the same modules again.
  process.env.NODE_COMPILE_CACHE ??= resolve(ROOT, "node_modules/.cache/tests");
  const stream = run({
    files: [...files],
    cwd: ROOT,
    concurrency: availableParallelism(),
    timeout: TEST_TIMEOUT_MS,
    execArgv: ["--import", WATCHDOG],
  });
  stream.on("test:fail", (event) => {
    // A failing test that is marked `todo` is reported, not counted.
    if (event.todo === undefined || event.todo === false) process.exitCode = 1;
  });
  stream.compose(new spec()).pipe(process.stdout);
}

try {
  runTests(selectFiles(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}

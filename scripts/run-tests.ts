import { globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative, resolve, sep } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { pathToFileURL } from "node:url";

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
  "test/daemon/ingress/connections.test.ts",
  "test/daemon/ingress/h2-floods.test.ts",
  "test/daemon/ingress/waits.test.ts",
  "test/daemon/monitor/automatic-rotation.test.ts",
  "test/daemon/monitor/backups.test.ts",
  "test/daemon/monitor/rotators/",
  "test/daemon/pipeline/provider-limits.property.test.ts",
  "test/daemon/setup.test.ts",
  "test/daemon/submissions.test.ts",
  "test/scripts/run-tests.test.ts",
  "test/store/acknowledgement.test.ts",
  "test/store/backup-",
  "test/store/durability.test.ts",
  "test/store/memory.test.ts",
  "test/store/root-rotation.test.ts",
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

/**
 * Files that import the given ones, one more than there are cores, because some tests wait. Most of a small test's time
 * goes into reading sidekey's modules, and this way each of them is read only a few times. The whole run does without:
 * there no file can disturb another.
 */
function inLanes(files: readonly string[]): string[] {
  const dir = mkdtempSync(join(tmpdir(), "sidekey-tests-"));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  const count = Math.min(files.length, availableParallelism() + 1);
  return Array.from({ length: count }, (_, lane) => {
    const imports = files.filter((_, at) => at % count === lane).map((file) => `import "${pathToFileURL(file)}";\n`);
    const path = join(dir, `lane-${lane + 1}.test.mjs`);
    writeFileSync(path, imports.join(""));
    return path;
  });
}

function runTests(files: readonly string[], concurrency: number): void {
  // Each file is a process, and this spares it the compiling.
  process.env.NODE_COMPILE_CACHE ??= resolve(ROOT, "node_modules/.cache/tests");
  const stream = run({
    files: [...files],
    cwd: ROOT,
    concurrency,
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
  const args = process.argv.slice(2);
  const files = selectFiles(args);
  if (args.includes("--unit")) {
    const lanes = inLanes(files);
    runTests(lanes, lanes.length);
  } else runTests(files, availableParallelism());
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}

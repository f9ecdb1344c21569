import { isMainThread, Worker } from "node:worker_threads";

const TIMEOUT_MS = 5 * 60_000;

// Loaded into every test file's process. node:test fails a test that takes too long but lets the process live when
// something keeps its event loop alive or busy; a thread of its own can end it in both cases. Unref'd, it never holds
// the process up.
const WATCH = `
const { workerData } = require("node:worker_threads");
setTimeout(() => {
  require("node:fs").writeSync(2, "test file ended after " + workerData.timeoutMs / 1000 + " s: " + workerData.file + "\\n");
  process.kill(process.pid, "SIGKILL");
}, workerData.timeoutMs);
`;

if (isMainThread) {
  const timeoutMs = Number(process.env.SIDEKEY_TEST_FILE_TIMEOUT_MS ?? TIMEOUT_MS);
  const workerData = { timeoutMs, file: process.argv[1] ?? "" };
  new Worker(WATCH, { eval: true, workerData, execArgv: [], env: {} }).unref();
}

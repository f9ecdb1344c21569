import assert from "node:assert/strict";
import { test } from "node:test";
import { coreDumpProblems, failureFields, hardenProcess } from "../../src/daemon/process-hygiene.ts";

const LIMITS = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax core file size        ${soft}                    unlimited            bytes     \n`;

test("core dumps are reported with the next step unless the limit is 0", () => {
  assert.deepEqual(coreDumpProblems({ limits: LIMITS("0"), corePattern: "core\n" }), []);
  assert.deepEqual(coreDumpProblems(null), []);
  assert.match(
    coreDumpProblems({ limits: LIMITS("unlimited"), corePattern: "core\n" })[0] ?? "",
    /to disk; start it with/,
  );
  const piped = coreDumpProblems({ limits: LIMITS("4096"), corePattern: "|/usr/share/apport %p\n" })[0] ?? "";
  assert.match(piped, /limit 4096\).*to the program in core_pattern/);
});

test("a failure is told by class, code and place, never by its text", () => {
  const key = "sk-live-0123456789";
  const error = Object.assign(new TypeError(`first line ${key}\n    at ${key} (second line)`), { code: "ERR_X" });
  const fields = failureFields(error);
  assert.deepEqual([fields.error, fields.code], ["TypeError", "ERR_X"]);
  assert.match(fields.stack[0] ?? "", /process-hygiene\.test\.ts/);
  assert.doesNotMatch(JSON.stringify(fields), new RegExp(key));
  const hostile = { name: `Bad ${key}`, code: key, stack: 7 };
  assert.deepEqual(failureFields(hostile), { error: "unknown", code: null, stack: [] });
  for (const thrown of [null, undefined, key, 7]) {
    assert.deepEqual(failureFields(thrown), { error: "unknown", code: null, stack: [] });
  }
});

test("hardening turns every automatic diagnostic report off and answers SIGUSR1 itself", () => {
  const before = process.listeners("SIGUSR1");
  hardenProcess();
  try {
    const { reportOnSignal, reportOnFatalError, reportOnUncaughtException } = process.report;
    assert.deepEqual([reportOnSignal, reportOnFatalError, reportOnUncaughtException], [false, false, false]);
    assert.equal(process.listenerCount("SIGUSR1"), before.length + 1);
  } finally {
    for (const listener of process.listeners("SIGUSR1")) {
      if (!before.includes(listener)) process.off("SIGUSR1", listener);
    }
  }
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { describeFailure, notFound, usageError } from "../../src/cli/failure.ts";
import { StartError } from "../../src/daemon/start-error.ts";
import { VaultError, VaultSealedError } from "../../src/store/errors.ts";

describe("failures", () => {
  test("exit codes tell wrong usage, a sealed vault and what is not there apart", () => {
    assert.equal(describeFailure(usageError("x")).exitCode, 2);
    assert.equal(describeFailure(notFound("x", "y")).exitCode, 4);
    assert.equal(describeFailure(new VaultSealedError("x")).exitCode, 3);
    assert.equal(describeFailure(new StartError("vault_sealed", "x")).exitCode, 3);
    assert.equal(describeFailure(new StartError("port_in_use", "x")).exitCode, 1);
    assert.equal(describeFailure(new VaultError("not_found", "x")).exitCode, 4);
    assert.equal(describeFailure(new VaultError("exists", "x")).exitCode, 1);
  });

  test("an error of the operating system is told in words, with its path", () => {
    assert.throws(
      () => readFileSync("/nowhere/at/all"),
      (error) => {
        const { message, exitCode } = describeFailure(error);
        assert.equal(message, "/nowhere/at/all: no such file or directory (ENOENT)");
        return exitCode === 1;
      },
    );
  });

  test("any other error is a bug, and its message, which may hold anything, is not shown", () => {
    for (const error of [
      new TypeError("CANARY"),
      Object.assign(new Error("CANARY"), { code: "ERR_X" }),
      "CANARY",
      null,
    ]) {
      const { message, nextStep, exitCode } = describeFailure(error);
      assert.match(message, /^internal error \(this is a bug\): /);
      assert.ok(!`${message}${nextStep}`.includes("CANARY"));
      assert.equal(exitCode, 1);
    }
  });
});

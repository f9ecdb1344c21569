import assert from "node:assert/strict";
import test from "node:test";
import { formatPath, formatProblem, PolicyError } from "../../src/policy/problem.ts";

test("a problem reads as file, line, path and sentence", () => {
  const problem = {
    line: 14,
    column: 3,
    path: "routes.fmp.limits[0].requests",
    message: "300 has no unit; write 300/min",
  };
  assert.equal(
    formatProblem("policy.yaml", problem),
    "policy.yaml:14 routes.fmp.limits[0].requests: 300 has no unit; write 300/min",
  );
  assert.equal(
    formatProblem("policy.yaml", { ...problem, path: "" }),
    "policy.yaml:14: 300 has no unit; write 300/min",
  );
});

test("a path names keys with dots and items with brackets", () => {
  assert.equal(formatPath(["routes", "fmp", "limits", 0, "per", 1]), "routes.fmp.limits[0].per[1]");
  assert.equal(formatPath([]), "");
});

test("problems are listed in the order of the file", () => {
  const at = (line: number, column: number) => ({ line, column, path: "", message: `${line}.${column}` });
  const error = new PolicyError("p.yaml", [at(3, 1), at(1, 9), at(1, 2)]);
  assert.equal(error.message, "p.yaml:1: 1.2\np.yaml:1: 1.9\np.yaml:3: 3.1");
  assert.deepEqual(
    error.problems.map(({ message }) => message),
    ["1.2", "1.9", "3.1"],
  );
});

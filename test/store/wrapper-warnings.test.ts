import assert from "node:assert/strict";
import { test } from "node:test";
import { wrapperWarnings } from "../../src/store/wrapper-warnings.ts";

test("only remote ways to open it are warned about", () => {
  const of = (...kinds: string[]): number => wrapperWarnings(kinds.map((kind) => ({ kind }))).length;
  assert.equal(of("aws-kms"), 1);
  assert.equal(of("vault-transit", "exec"), 1);
  for (const kinds of [[], ["file"], ["passphrase", "aws-kms"], ["shares"]]) assert.equal(of(...kinds), 0);
  assert.match(wrapperWarnings([{ kind: "aws-kms" }])[0] ?? "", /only aws-kms can open it.*wrapper add passphrase/);
});

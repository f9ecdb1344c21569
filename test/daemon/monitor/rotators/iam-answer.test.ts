import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { IamAnswer } from "../../../../src/daemon/monitor/rotators/iam-answer.ts";

const answer = (text: string): IamAnswer => new IamAnswer(Buffer.from(text));

describe("an answer of IAM", () => {
  test("gives a word, a secret and the members of a list", () => {
    const read = answer("<A><K>AKIA1</K><S>abc/+=</S><L><member><I>1</I></member><member><I>2</I></member></L></A>");
    assert.equal(read.text("K"), "AKIA1");
    assert.equal(read.secret("S")?.use(String), "abc/+=");
    assert.deepEqual(
      read.members().map((member) => member.text("I")),
      ["1", "2"],
    );
  });

  test("what is there twice, not at all, not closed, nested, escaped or no word is null", () => {
    const read = answer("<K>a</K><K>b</K><O>x<N><I>1</I></N><E>a&amp;b</E><W>two words</W><Z></Z>");
    for (const name of ["K", "missing", "O", "N", "E", "W"]) assert.equal(read.text(name), null, name);
    assert.equal(read.secret("Z"), null);
    assert.equal(read.secret("K"), null);
    assert.deepEqual(answer("<member>").members(), []);
  });
});

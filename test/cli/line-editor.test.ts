import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LineEditor, MAX_LINE_BYTES } from "../../src/cli/line-editor.ts";

function typed(...chunks: (string | Buffer)[]): { editor: LineEditor; echoed: string; rest: string } {
  const editor = new LineEditor();
  let echoed = "";
  let rest = "";
  for (const chunk of chunks) {
    const bytes = Buffer.from(chunk as string);
    const used = editor.feed(bytes, (echo) => {
      echoed += echo.toString("latin1");
    });
    rest += bytes.subarray(used).toString();
  }
  return { editor, echoed, rest };
}

function line(...chunks: (string | Buffer)[]): string {
  const { editor } = typed(...chunks);
  assert.equal(editor.state, "done");
  return editor.take().use((bytes) => bytes.toString());
}

describe("line editor", () => {
  test("return and newline both end the line", () => {
    assert.equal(line("abc\r"), "abc");
    assert.equal(line("ab", "c\n"), "abc");
  });

  test("backspace takes one character back, in UTF-8 all its bytes; on an empty line nothing", () => {
    assert.equal(line("\x7fab\x7fc\r"), "ac");
    assert.equal(line("pä€\x7f\x08x\r"), "px");
    assert.equal(line("abc\x15xyz\r"), "xyz");
  });

  test("arrow keys and other escape sequences leave nothing behind", () => {
    assert.equal(line("a\x1b[Ab\x1b[1;5Dc\x1bOd\r"), "abcd");
  });

  test("an escape sequence that is cut between two reads is still skipped", () => {
    assert.equal(line("a\x1b", "[", "3~b\r"), "ab");
  });

  test("Ctrl-C cancels, Ctrl-D only on an empty line", () => {
    assert.equal(typed("abc\x03").editor.state, "cancelled");
    assert.equal(typed("\x04").editor.state, "cancelled");
    assert.equal(line("a\x04b\r"), "ab");
  });

  test("what is pasted after the line stays for the next question", () => {
    const { editor, rest } = typed("first\nsecond\n");
    assert.equal(editor.state, "done");
    assert.equal(rest, "second\n");
  });

  test("a line that is too long is an end too", () => {
    assert.equal(typed("x".repeat(MAX_LINE_BYTES)).editor.state, "open");
    assert.equal(typed("x".repeat(MAX_LINE_BYTES + 1)).editor.state, "too-long");
  });

  test("typed characters and erasures are echoed, control characters are not", () => {
    assert.equal(typed("ab\x7f\x01c\r").echoed, "ab\b \bc");
  });
});

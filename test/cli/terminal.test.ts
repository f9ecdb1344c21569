import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { createTerminal, type Terminal } from "../../src/cli/terminal.ts";

function captured(options: { isTTY: boolean; colour: boolean }): {
  terminal: Terminal;
  out: () => string;
  err: () => string;
} {
  const [out, err] = [new PassThrough(), new PassThrough()].map((stream) =>
    Object.assign(stream, { isTTY: options.isTTY }),
  );
  assert.ok(out !== undefined && err !== undefined);
  const read = (stream: PassThrough) => (): string => String(stream.read() ?? "");
  return { terminal: createTerminal({ out, err, colour: options.colour }), out: read(out), err: read(err) };
}

const FAILURE = { message: "bad \u001b[2J", nextStep: "first\nsecond", exitCode: 1 } as const;

describe("terminal", () => {
  test("what was asked for is on stdout, everything said about it on stderr", () => {
    const { terminal, out, err } = captured({ isTTY: false, colour: true });
    terminal.out("table");
    terminal.status("ok", "fine");
    terminal.jsonLine({ a: "\u009b" });
    terminal.note("note");
    terminal.warn("careful");
    terminal.fail(FAILURE);
    assert.equal(out(), 'table\nok    fine\n{"a":"\\u009b"}\n');
    assert.equal(err(), "note\nwarning: careful\nsidekey: bad \\x1b[2J\n  first\n  second\n");
  });

  test("colour is for a terminal alone, and NO_COLOR switches it off", () => {
    for (const [isTTY, colour, expected] of [
      [true, true, true],
      [true, false, false],
      [false, true, false],
    ] as const) {
      const { terminal, out, err } = captured({ isTTY, colour });
      terminal.status("fail", "\u001b[0mtext");
      terminal.fail(FAILURE);
      const text = out() + err();
      assert.equal(text.includes("\u001b"), expected);
      assert.ok(text.includes("\\x1b[0mtext"));
    }
  });
});

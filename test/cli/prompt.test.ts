import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { CliError } from "../../src/cli/failure.ts";
import { createPrompter, type PromptInput } from "../../src/cli/prompt.ts";
import { createTerminal } from "../../src/cli/terminal.ts";

/** A TTY that records its mode, and what was written to the terminal. */
function fakeTerminal(isTTY = true) {
  const input = new PassThrough();
  const modes: boolean[] = [];
  const tty = Object.assign(input, {
    isTTY,
    setRawMode: (raw: boolean) => {
      modes.push(raw);
      return tty;
    },
  });
  const written: Buffer[] = [];
  const err = new PassThrough().on("data", (chunk: Buffer) => written.push(chunk));
  const terminal = createTerminal({ out: new PassThrough(), err, colour: false });
  const prompter = createPrompter(tty as unknown as PromptInput, terminal);
  return { input, modes, prompter, written: () => Buffer.concat(written).toString() };
}

describe("prompt", () => {
  test("a hidden answer is not echoed, and the chunk it came in is wiped", async () => {
    const { input, modes, prompter, written } = fakeTerminal();
    const asked = prompter.ask("API key", { hidden: true });
    const chunk = Buffer.from("CANARY-key\r");
    input.write(chunk);
    const secret = await asked;
    assert.equal(
      secret.use((bytes) => bytes.toString()),
      "CANARY-key",
    );
    assert.ok(chunk.every((byte) => byte === 0));
    assert.equal(written(), "API key: \n");
    assert.deepEqual(modes, [true, false]);
  });

  test("an answer that is no secret is echoed; two pasted lines answer two questions", async () => {
    const { input, prompter, written } = fakeTerminal();
    const first = prompter.ask("Key ID", { hidden: false });
    input.write(Buffer.from("PK123\nCANARY\n"));
    assert.equal((await first).use(String), "PK123");
    assert.equal((await prompter.ask("Secret key", { hidden: true })).use(String), "CANARY");
    assert.equal(written(), "Key ID: PK123\nSecret key: \n");
  });

  test("Ctrl-C, and a terminal that goes away, change nothing and give the mode back", async () => {
    for (const end of ["\x03", null]) {
      const { input, modes, prompter } = fakeTerminal();
      const asked = prompter.ask("API key", { hidden: true });
      if (end === null) input.end();
      else input.write(Buffer.from(`abc${end}`));
      await assert.rejects(
        asked,
        (error: CliError) => error.exitCode === 1 && /nothing was changed/.test(error.message),
      );
      assert.deepEqual(modes, [true, false]);
    }
  });

  test("without a terminal nobody is asked", async () => {
    const { prompter } = fakeTerminal(false);
    assert.equal(prompter.interactive, false);
    await assert.rejects(prompter.ask("API key", { hidden: true }), CliError);
  });
});

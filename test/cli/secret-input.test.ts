import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { CliError } from "../../src/cli/failure.ts";
import type { Prompter } from "../../src/cli/prompt.ts";
import { collectSecrets, newPassphrase } from "../../src/cli/secret-input.ts";
import { Secret } from "../../src/secret.ts";
import { tempDir } from "../support/temp-dir.ts";

const ONE = [{ name: "api_key", label: "API key", secret: true, hint: null }];
const TWO = [{ name: "key_id", label: "Key ID", secret: false, hint: "short" }, ...ONE];

function devices(input: string | Buffer, answers: readonly string[] = []) {
  const asked: string[] = [];
  const prompter: Prompter = {
    interactive: true,
    ask: async (label) => {
      asked.push(label);
      return Secret.copyOf(Buffer.from(answers[asked.length - 1] ?? ""));
    },
    close: () => {},
  };
  return { input: Readable.from([Buffer.from(input as string)], { objectMode: false }), prompter, asked };
}

function texts(secrets: ReadonlyMap<string, Secret>): Record<string, string> {
  return Object.fromEntries(
    [...secrets].map(([name, secret]) => [name, secret.use((bytes) => bytes.toString("latin1"))]),
  );
}

describe("secret input", () => {
  test("a single field is all of stdin but one trailing newline", async () => {
    const cases = [
      ["key", "key"],
      ["key\n", "key"],
      ["key\r\n", "key"],
      ["key\n\n", "key\n"],
      ["a\nb", "a\nb"],
      ["", ""],
    ] as const;
    for (const [input, expected] of cases) {
      const secrets = await collectSecrets(ONE, { stdin: true, files: [] }, devices(input));
      assert.deepEqual(texts(secrets), { api_key: expected });
    }
  });

  test("several fields are one per line in the order of the fields", async () => {
    const secrets = await collectSecrets(TWO, { stdin: true, files: [] }, devices("id\r\nsecret\n"));
    assert.deepEqual(texts(secrets), { key_id: "id", api_key: "secret" });
    for (const input of ["id", "id\nsecret\nmore", ""]) {
      const wrong = collectSecrets(TWO, { stdin: true, files: [] }, devices(input));
      await assert.rejects(wrong, (error: CliError) => error.exitCode === 2 && !error.message.includes("more"));
    }
  });

  test("input without end is refused instead of read", async () => {
    const endless = devices(Buffer.alloc(70_000, 0x61));
    await assert.rejects(collectSecrets(ONE, { stdin: true, files: [] }, endless), /longer than 65536 bytes/);
  });

  test("files name their field; a wrong argument is not repeated", async (t) => {
    const file = join(tempDir(t), "a=b");
    writeFileSync(file, "from file\n");
    const secrets = await collectSecrets(ONE, { stdin: false, files: [`api_key=${file}`] }, devices(""));
    assert.deepEqual(texts(secrets), { api_key: "from file" });
    for (const argument of ["CANARY", "CANARY=x", "=CANARY", "api_key="]) {
      const wrong = collectSecrets(ONE, { stdin: false, files: [argument] }, devices(""));
      await assert.rejects(wrong, (error: CliError) => error.exitCode === 2 && !/CANARY/.test(error.message));
    }
    await assert.rejects(collectSecrets(ONE, { stdin: true, files: ["api_key=x"] }, devices("")), /exclude each other/);
  });

  test("without stdin or files every field is asked for", async () => {
    const asking = devices("", ["id", "secret"]);
    const secrets = await collectSecrets(TWO, { stdin: false, files: [] }, asking);
    assert.deepEqual(texts(secrets), { key_id: "id", api_key: "secret" });
    assert.deepEqual(asking.asked, ["Key ID (short)", "API key"]);
  });

  test("a new passphrase is typed twice and must be the same", async () => {
    const same = await newPassphrase(devices("", ["correct horse", "correct horse"]), false);
    assert.equal(same.use(String), "correct horse");
    await assert.rejects(newPassphrase(devices("", ["correct horse", "correct hose"]), false), CliError);
    assert.equal((await newPassphrase(devices("correct horse\n"), true)).use(String), "correct horse");
  });
});

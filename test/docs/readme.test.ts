import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Command } from "commander";
import type { Cli } from "../../src/cli/cli.ts";
import { registerCommands } from "../../src/cli/command-list.ts";
import { anchors, localLinks, ROOT, readPage, shellLines, sidekeyCalls } from "./markdown-page.ts";

const PAGES = [
  "README.md",
  "CHANGELOG.md",
  ...readdirSync(join(ROOT, "docs"))
    // The vault format quotes bytes, not commands.
    .filter((name) => name.endsWith(".md") && name !== "vault-format.md")
    .map((name) => `docs/${name}`),
];

test("every link between pages leads to a file, and every anchor to a heading", () => {
  const broken = PAGES.flatMap((page) =>
    localLinks(page)
      .filter(({ path, anchor }) => {
        if (!existsSync(join(ROOT, path))) return true;
        return anchor !== null && !anchors(path).has(anchor);
      })
      .map(({ path, anchor }) => `${page}: ${path}${anchor === null ? "" : `#${anchor}`}`),
  );
  assert.deepEqual(broken, []);
});

test("every npm command of the README is a script of package.json", () => {
  const { scripts } = JSON.parse(readPage("package.json")) as { scripts: Record<string, string> };
  const named = [...readPage("README.md").matchAll(/\bnpm (?:run )?(start|test|(?<=run )[a-z:]+)/g)].map(
    ([, name = ""]) => name,
  );
  assert.ok(named.length > 0);
  for (const name of named) assert.ok(scripts[name], `npm run ${name} is not a script`);
});

test("every sidekey command that the pages show exists, with its options", async () => {
  const program = new Command("sidekey").option("--data <dir>").option("--config <dir>").option("--version");
  // Nothing is run, so nothing of the Cli is looked at.
  await registerCommands(program, {} as Cli, []);
  const wrong = PAGES.flatMap((page) =>
    sidekeyCalls(page).flatMap((call) => {
      const problem = callProblem(program, call);
      return problem === null ? [] : [`${page}: sidekey ${call}: ${problem}`];
    }),
  );
  assert.deepEqual(wrong, []);
});

test("a test that a page names exists, and so does its quoted title", () => {
  const wrong = PAGES.flatMap((page) =>
    [...readPage(page).matchAll(/`(test\/[\w./-]+\.ts)`(?:,? "([^"]+)")?/g)].flatMap(([, path = "", title]) => {
      if (!existsSync(join(ROOT, path))) return [`${page}: ${path} does not exist`];
      return title === undefined || readPage(path).includes(title) ? [] : [`${page}: ${path} has no test "${title}"`];
    }),
  );
  assert.deepEqual(wrong, []);
});

test("the README starts with two commands that need nothing else", () => {
  assert.deepEqual(
    shellLines("README.md")
      .slice(0, 2)
      .map((line) => line.split(" #")[0]?.trim()),
    ["npm start", "npm test"],
  );
});

/** What follows `--` or a redirection belongs to somebody else. `a|b|c` in a page stands for each of them. */
function callProblem(program: Command, call: string): string | null {
  const words = (call.split(/ (?:--|[<>|]) /)[0] ?? "").split(" ").filter((word) => word !== "" && word !== "...");
  let command = program;
  const known = new Set(program.options.map(({ long }) => long));
  for (const [at, word] of words.entries()) {
    if (word.startsWith("-")) {
      const name = word.split("=")[0] ?? "";
      for (const { long } of command.options) known.add(long);
      if (name !== "--help" && !known.has(name)) return `no option ${name}`;
      continue;
    }
    // The value of an option of a command that has subcommands of its own.
    const takesValue = command.options.some(({ long, required }) => required && long === words[at - 1]);
    if (command.commands.length === 0 || takesValue) continue;
    const choices = word.split("|").map((name) => command.commands.find((sub) => sub.name() === name));
    const [next] = choices;
    if (next === undefined || choices.includes(undefined)) return `no command ${word}`;
    command = next;
  }
  return null;
}

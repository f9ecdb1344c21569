import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Command } from "commander";
import type { Cli } from "../../src/cli/cli.ts";
import { registerAudit } from "../../src/cli/commands/audit.ts";
import { registerBackup } from "../../src/cli/commands/backup.ts";
import { registerCa } from "../../src/cli/commands/ca.ts";
import { registerClient } from "../../src/cli/commands/client.ts";
import { registerCredential } from "../../src/cli/commands/credential.ts";
import { registerDoctor } from "../../src/cli/commands/doctor.ts";
import { registerEnv } from "../../src/cli/commands/env.ts";
import { registerInit } from "../../src/cli/commands/init.ts";
import { registerPolicy } from "../../src/cli/commands/policy.ts";
import { registerProvider } from "../../src/cli/commands/provider.ts";
import { registerRequests } from "../../src/cli/commands/requests.ts";
import { registerRun } from "../../src/cli/commands/run.ts";
import { registerServe } from "../../src/cli/commands/serve.ts";
import { registerStatus } from "../../src/cli/commands/status.ts";
import { registerUp } from "../../src/cli/commands/up.ts";
import { registerUsage } from "../../src/cli/commands/usage.ts";
import { registerVault } from "../../src/cli/commands/vault.ts";
import { anchors, localLinks, ROOT, readPage, shellLines, sidekeyCalls } from "./markdown-page.ts";

const COMMANDS = [
  registerUp,
  registerInit,
  registerServe,
  registerStatus,
  registerDoctor,
  registerEnv,
  registerRun,
  registerProvider,
  registerCredential,
  registerClient,
  registerPolicy,
  registerUsage,
  registerRequests,
  registerAudit,
  registerVault,
  registerBackup,
  registerCa,
];

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

test("every sidekey command that the pages show exists, with its options", () => {
  const program = new Command("sidekey").option("--data <dir>").option("--config <dir>").option("--version");
  // Nothing is run, so nothing of the Cli is looked at.
  for (const register of COMMANDS) register(program, {} as Cli);
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

/** What follows `--` belongs to another program. `a|b|c` in a page stands for each of them. */
function callProblem(program: Command, call: string): string | null {
  const words = (call.split(" -- ")[0] ?? "").split(" ").filter((word) => word !== "" && word !== "...");
  let command = program;
  const known = new Set(program.options.map(({ long }) => long));
  for (const word of words) {
    if (word.startsWith("-")) {
      const name = word.split("=")[0] ?? "";
      for (const { long } of command.options) known.add(long);
      if (name !== "--help" && !known.has(name)) return `no option ${name}`;
      continue;
    }
    if (command.commands.length === 0) continue;
    const choices = word.split("|").map((name) => command.commands.find((sub) => sub.name() === name));
    const [next] = choices;
    if (next === undefined || choices.includes(undefined)) return `no command ${word}`;
    command = next;
  }
  return null;
}

import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, type TestContext, test } from "node:test";
import { Command } from "commander";
import type { Cli } from "../../../src/cli/cli.ts";
import { registerCredential } from "../../../src/cli/commands/credential.ts";
import { createDaemonClient } from "../../../src/cli/daemon-client.ts";
import { createTerminal } from "../../../src/cli/terminal.ts";
import { loadConfig } from "../../../src/daemon/config.ts";
import { loadCatalog } from "../../../src/providers/catalog.ts";
import { Secret } from "../../../src/secret.ts";
import { findCanary } from "../../support/canary.ts";
import { type CliPlace, cliPlace, initializedPlace } from "../../support/cli-process.ts";
import { FMP_KEY } from "../../support/submission-fixture.ts";

const CANARY = { text: FMP_KEY, bytes: Buffer.from(FMP_KEY) };

interface Sealed {
  readonly file: string;
  readonly code: string;
}

/** A vault, and a sender who has its public keys. `seal` puts the file where the vault is. */
async function vaultAndSender(t: TestContext): Promise<{
  vault: CliPlace;
  seal: (name: string, more?: readonly string[], key?: string) => Promise<Sealed>;
}> {
  const vault = await initializedPlace(t);
  const sender = cliPlace(t);
  await vault.run(["vault", "public-key", "--out", join(sender.dir, "keys")]);
  const seal = async (name: string, more: readonly string[] = [], key = FMP_KEY): Promise<Sealed> => {
    const file = join(vault.dir, name);
    const provider = more.includes("--environment") ? "alpaca" : "fmp";
    const args = ["seal", provider, "--public-key", "keys", "--stdin", "--out", file, ...more];
    const sealed = await sender.run(args, { input: key });
    assert.equal(sealed.code, 0, sealed.all);
    return { file, code: /check code ([0-9a-f]{12})/.exec(sealed.stderr)?.[1] ?? "none" };
  };
  return { vault, seal };
}

/** The command's surroundings with somebody who answers `typed`. */
function atTerminal(place: CliPlace, typed: string): { cli: Cli; asked: string[]; shown: () => string } {
  const asked: string[] = [];
  const out = new PassThrough();
  const config = () => loadConfig({ argvData: place.data, argvConfig: place.config });
  const cli: Cli = {
    terminal: createTerminal({ out, err: out, colour: false }),
    prompter: {
      interactive: true,
      ask: async (label) => {
        asked.push(label);
        return Secret.copyOf(Buffer.from(typed));
      },
      close: () => {},
    },
    stdin: new PassThrough(),
    environment: {},
    actor: "cli:test",
    version: "test",
    packageRoot: place.dir,
    now: Date.now,
    overrides: () => ({ data: place.data, config: place.config }),
    config,
    catalog: () => loadCatalog(config().providersDir),
    daemon: () => createDaemonClient(place.data),
    exit: () => {},
  };
  return { cli, asked, shown: () => String(out.read() ?? "") };
}

describe("sidekey credential accept", () => {
  test("stores the key once and shows the sender's check code, and the key is nowhere", async (t) => {
    const { vault, seal } = await vaultAndSender(t);
    const { file, code } = await seal("main.sealed", ["--expires", "2099-01-31"]);
    const looked = await vault.run(["credential", "accept", file, "--check"]);
    assert.equal(looked.code, 0, looked.all);
    assert.match(looked.stderr, new RegExp(`check code +${code}`));
    assert.match(looked.stderr, /fmp-main, a new credential/);
    assert.match(looked.stderr, /hosts +financialmodelingprep\.com/);
    assert.match(looked.stderr, /a sealed box has no sender/);
    assert.equal((await vault.run(["credential", "show", "fmp-main"])).code, 4);
    const stored = await vault.run(["credential", "accept", file, "--yes"]);
    assert.equal(stored.code, 0, stored.all);
    const fingerprint = /fingerprint ([0-9a-f]{12})$/m.exec(stored.stdout)?.[1] ?? "none";
    assert.match(looked.stderr, new RegExp(`fingerprint +${fingerprint}`));
    const again = await vault.run(["credential", "accept", file, "--yes"]);
    assert.equal(again.code, 1, again.all);
    assert.match(again.stderr, /this submission was accepted on .* as fmp-main version 1/);
    const shown = await vault.run(["credential", "show", "fmp-main"]);
    assert.match(shown.stdout, /expires +2099-01-31T23:59:59Z/);
    const audit = await vault.run(["audit", "list", "--json"]);
    assert.match(audit.stdout, /submission\.accept/);
    const files = readdirSync(vault.data).flatMap((name) =>
      name.endsWith(".sock") ? [] : [readFileSync(join(vault.data, name))],
    );
    assert.ok(files.length > 2);
    const outputs = [looked, stored, again, shown, audit].map(({ all }) => all);
    assert.deepEqual(findCanary([...files, ...outputs, readFileSync(file)], CANARY), []);
    // The stored value is the sealed one: sealing it again gives the same fingerprint.
    const same = await seal("same.sealed");
    const next = await vault.run(["credential", "accept", same.file, "--yes", "--as", "pending"]);
    assert.match(next.stdout, new RegExp(`^stored fmp-main version 2 \\(pending\\), fingerprint ${fingerprint}$`, "m"));
  });

  test("asks somebody, or wants --yes: without either nothing is stored", async (t) => {
    const { vault, seal } = await vaultAndSender(t);
    const { file } = await seal("main.sealed");
    const text = readFileSync(file);
    for (const args of [[file], ["-"], [file, "--as", "later", "--yes"]]) {
      const refused = await vault.run(["credential", "accept", ...args], { input: text });
      assert.equal(refused.code, 2, refused.all);
    }
    assert.equal((await vault.run(["credential", "show", "fmp-main"])).code, 4);
    const stored = await vault.run(["credential", "accept", "-", "--yes"], { input: text });
    assert.equal(stored.code, 0, stored.all);
  });

  test("stores it when somebody at the terminal types yes, and only then", async (t) => {
    const { vault, seal } = await vaultAndSender(t);
    const { file } = await seal("main.sealed");
    for (const [typed, stored] of [
      ["no", false],
      ["", false],
      ["yes", true],
    ] as const) {
      const { cli, asked, shown } = atTerminal(vault, typed);
      const program = new Command().exitOverride();
      registerCredential(program, cli);
      const run = program.parseAsync(["credential", "accept", file], { from: "user" });
      if (stored) await run;
      else await assert.rejects(run, /not stored; nothing was changed/);
      assert.deepEqual(asked, ["store it? type yes"]);
      assert.match(shown(), /check code +[0-9a-f]{12}\nprovider +fmp \(live\)/);
      assert.equal((await vault.run(["credential", "show", "fmp-main"])).code, stored ? 0 : 4);
    }
  });

  test("refuses by name what is foreign, cut, changed, newer, too large or no submission", async (t) => {
    const { vault, seal } = await vaultAndSender(t);
    const other = await vaultAndSender(t);
    const foreign = await other.seal("other.sealed");
    const good = readFileSync((await seal("main.sealed")).file, "utf8");
    const cases: readonly [string, RegExp][] = [
      [readFileSync(foreign.file, "utf8"), /sealed for vault [0-9a-f]{32}, but this one is/],
      [good.slice(0, 500), /truncated: its last line is missing/],
      [good.replace("fmp-main", "fmp-mein"), /does not open: it was changed on the way/],
      [good.replace("format: 1", "format: 7"), /has format 7; upgrade sidekey/],
      [good + "\n".repeat(300_000), /at most 256 KiB/],
      [FMP_KEY, /this is no sealed submission/],
    ];
    for (const [text, words] of cases) {
      const refused = await vault.run(["credential", "accept", "-", "--yes"], { input: text });
      assert.ok(refused.code === 1 || refused.code === 2, `${words}: ${refused.all}`);
      assert.match(refused.stderr, words);
      assert.deepEqual(findCanary([refused.all], CANARY), []);
    }
    assert.equal((await vault.run(["credential", "show", "fmp-main"])).code, 4);
  });

  test("refuses what does not fit the catalog or the credential of that name", async (t) => {
    const { vault, seal } = await vaultAndSender(t);
    const short = await seal("short.sealed", ["--no-validate"], "short");
    const unlike = await vault.run(["credential", "accept", short.file, "--yes"]);
    assert.equal(unlike.code, 1, unlike.all);
    assert.match(unlike.stderr, /fmp api_key: has 5 characters, expected 32/);
    const forced = await vault.run(["credential", "accept", short.file, "--yes", "--no-validate"]);
    assert.equal(forced.code, 0, forced.all);
    const pair = `PKAAAAAAAAAAAAAAAAAA\nSECRET${FMP_KEY}AAAA\n`;
    const stranger = await seal("a.sealed", ["--environment", "paper", "--name", "fmp-main", "--no-validate"], pair);
    const repointed = await vault.run(["credential", "accept", stranger.file, "--yes", "--no-validate"]);
    assert.equal(repointed.code, 1, repointed.all);
    assert.match(repointed.stderr, /credential fmp-main exists with provider fmp; a new version cannot change that/);
    const { file } = await seal("main.sealed");
    const catalog = join(vault.config, "providers", "fmp.yaml");
    const fmp = readFileSync(catalog, "utf8");
    writeFileSync(catalog, fmp.replaceAll("financialmodelingprep.com", "fmp.example"));
    const elsewhere = await vault.run(["credential", "accept", file, "--yes"]);
    assert.equal(elsewhere.code, 1, elsewhere.all);
    assert.match(elsewhere.stderr, /financialmodelingprep\.com is no host of fmp \(live\)/);
  });

  test("two at the same time store one version", async (t) => {
    const { vault, seal } = await vaultAndSender(t);
    const { file } = await seal("main.sealed");
    const runs = await Promise.all([1, 2, 3].map(() => vault.run(["credential", "accept", file, "--yes"])));
    assert.deepEqual(runs.map(({ code }) => code).sort(), [0, 1, 1], runs.map(({ all }) => all).join("\n"));
    for (const { code, stderr } of runs) if (code === 1) assert.match(stderr, /this submission was accepted on/);
    const shown = await vault.run(["credential", "show", "fmp-main", "--json"]);
    assert.equal((JSON.parse(shown.stdout) as { versions: unknown[] }).versions.length, 1);
  });

  test("a vault that does not open accepts nothing, with exit code 3", async (t) => {
    const { vault, seal } = await vaultAndSender(t);
    const { file } = await seal("main.sealed");
    writeFileSync(join(vault.data, "root.key"), "not a key");
    const sealed = await vault.run(["credential", "accept", file, "--yes"]);
    assert.equal(sealed.code, 3, sealed.all);
  });
});

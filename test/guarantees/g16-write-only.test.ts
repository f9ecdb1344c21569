import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Canary, findCanary, makeCanary } from "../support/canary.ts";
import { type CliPlace, initializedPlace, startCli } from "../support/cli-process.ts";
import { pause } from "../support/running-sidekey.ts";
import { freePort } from "../support/served-place.ts";
import { controlCall } from "./control-call.ts";

/** Every command that shows something, as `sidekey --help` names it, with arguments that make it show most. */
const SHOWING: Readonly<Record<string, readonly (readonly string[])[]>> = {
  status: [[], ["--json"]],
  doctor: [[], ["--json"]],
  env: [[], ["--client", "app"], ["--format", "dotenv"], ["--format", "compose"], ["--format", "k8s"]],
  usage: [["--by", "credential"], ["--json"]],
  "provider list": [[], ["--json"]],
  "provider show": [["demo"], ["demo", "--json"]],
  "credential list": [[], ["--json"]],
  "credential show": [["demo-two"], ["demo-two", "--json"], ["alpaca-main", "--json"]],
  "credential validate": [["demo-two"], ["alpaca-main", "--json"]],
  "credential rotation": [["demo-two"], ["demo-two", "--json"]],
  alerts: [[], ["--all"], ["--all", "--json"]],
  "client list": [[], ["--json"]],
  "policy check": [[], ["--json"]],
  "policy explain": [
    ["https://demo.sidekey.test/x", "--client", "app"],
    ["https://demo.sidekey.test/x", "--client", "app", "--json"],
  ],
  "prices check": [[], ["--json"]],
  "prices show": [[], ["openai"], ["openai", "--json"]],
  "prices cost": [["openai", "gpt-4o", "--units", "input=1000,output=200", "--json"]],
  "audit list": [[], ["--json"]],
  "audit verify": [[], ["--json"]],
  "vault status": [[], ["--json"]],
  "vault wrapper list": [[], ["--json"]],
  "ca show": [[], ["--json"]],
  "ca export": [[]],
};

/** They change something, run something, or are tried by name below. */
const OTHERS = new Set([
  "up",
  "init",
  "serve",
  "run",
  "requests",
  "provider check",
  "credential add",
  "credential enable",
  "credential disable",
  "credential promote",
  "credential restore",
  "credential rollback",
  "credential rotate",
  "credential revoke",
  "credential remove",
  "client add",
  "client revoke",
  "policy test",
  "policy reload",
  "seal",
  "credential accept",
  "audit checkpoint",
  "backup create",
  "backup verify",
  "backup restore",
  "backup drill",
  "vault public-key",
  "vault acknowledge-rollback",
  "vault shares split",
  "vault shares verify",
  "vault wrapper add file",
  "vault wrapper add systemd",
  "vault wrapper add exec",
  "vault wrapper add vault-transit",
  "vault wrapper add aws-kms",
  "vault seal",
  "vault unseal",
  "vault rotate",
  "vault destroy",
  "vault rekey",
  "vault wrapper add passphrase",
  "vault wrapper remove",
  "alerts acknowledge",
]);

/** The commands that `sidekey --help` lists, with those of their groups. */
async function commandsOf(place: CliPlace, group: readonly string[] = []): Promise<string[]> {
  const { stdout } = await place.run([...group, "--help"]);
  const at = stdout.indexOf("Commands:");
  if (at === -1) return [group.join(" ")];
  const listed = [...stdout.slice(at).matchAll(/^ {2}([a-z][a-z-]*)( [[<])?/gm)].filter(([, name]) => name !== "help");
  // Only what takes no arguments or options of its own can be a group.
  const leafs = listed.filter(([, , takes]) => takes !== undefined).map(([, name]) => [...group, name].join(" "));
  const rest = listed.filter(([, , takes]) => takes === undefined).map(([, name = ""]) => [...group, name]);
  return [...leafs, ...(await Promise.all(rest.map((names) => commandsOf(place, names)))).flat()];
}

interface World extends CliPlace {
  readonly secrets: Readonly<Record<string, Canary>>;
  readonly token: string;
  readonly metricsPort: number;
  /** Output of every command so far, by command line. */
  readonly said: Map<string, string>;
}

async function startWorld(t: TestContext): Promise<World> {
  const place = await initializedPlace(t);
  const secrets = { first: makeCanary(), second: makeCanary(), trading: makeCanary() };
  const said = new Map<string, string>();
  const add = async (args: readonly string[], input: string): Promise<void> => {
    const { code, all } = await place.run(["credential", "add", ...args, "--stdin", "--no-validate"], { input });
    assert.equal(code, 0, all);
    said.set(`credential add ${args.join(" ")}`, all);
  };
  await add(["demo", "--name", "demo-two"], `${secrets.first.text}\n`);
  await add(["demo", "--name", "demo-two", "--replace"], `${secrets.second.text}\n`);
  await add(["alpaca", "--environment", "paper"], `AKAAAAAAAAAAAAAAAAAA\n${secrets.trading.text}\n`);
  const [proxyPort, metricsPort] = [await freePort(), await freePort()];
  const file = join(place.config, "daemon.yaml");
  const text = readFileSync(file, "utf8").replace(":8787 ", `:${proxyPort} `).replace(":9477 ", `:${metricsPort} `);
  writeFileSync(file, text);
  const serve = startCli(t, place.dir, ["serve"]);
  const output: string[] = [];
  for (const stream of [serve.stdout, serve.stderr])
    stream.setEncoding("utf8").on("data", (part: string) => output.push(part));
  for (let i = 0; i < 300 && !output.join("").includes("started"); i++) await pause(50);
  said.set("serve", output.join(""));
  assert.match(output.join(""), /started/);
  return { ...place, secrets, metricsPort, said };
}

function leaks({ secrets, said }: World): string[] {
  return Object.entries(secrets).flatMap(([name, canary]) =>
    [...said].flatMap(([where, text]) => findCanary([text], canary).map(({ form }) => `${name} (${form}) in ${where}`)),
  );
}

test("G16 write-only: no command, control call or metric shows a stored secret again", async (t) => {
  const world = await startWorld(t);
  const { run, said, data, token } = world;
  const show = async (command: string, args: readonly string[]): Promise<void> => {
    const { code, all } = await run([...command.split(" "), ...args]);
    assert.ok(code === 0 || code === 1, `${command} ${args.join(" ")}: ${all}`);
    said.set(`${command} ${args.join(" ")}`, all);
    assert.ok(!all.includes(token), `${command} shows the token that was shown once`);
  };
  for (const [command, variants] of Object.entries(SHOWING)) {
    await Promise.all(variants.map((args) => show(command, args)));
  }
  for (const args of [
    ["credential", "promote", "demo-two"],
    ["credential", "promote", "demo-two", "1"],
    ["credential", "rollback", "demo-two"],
    ["credential", "disable", "demo-two"],
    ["credential", "enable", "demo-two"],
    ["policy", "reload"],
    ["alerts", "acknowledge", "1"],
    ["vault", "public-key"],
    ["vault", "wrapper", "add", "file", "second.key"],
    ["audit", "checkpoint"],
    ["audit", "checkpoint", "--json"],
    ["seal", "demo", "--public-key", "nothing"],
    ["credential", "accept", "nothing"],
    ["backup", "create", "--out", "one.backup", "--json"],
    ["backup", "verify", "one.backup", "--all", "--json"],
    ["backup", "drill", "one.backup", "--json"],
    ["vault", "rotate"],
    ["vault", "rotate", "--root"],
    ["vault", "seal", "--category", "demo"],
    ["vault", "unseal", "--category", "demo"],
    ["vault", "seal"],
    ["vault", "unseal"],
    ["vault", "destroy", "--category", "trading", "--confirm", "trading"],
    ["credential", "revoke", "demo-two"],
    ["credential", "remove", "demo-two", "--yes"],
    ["credential", "list", "--removed", "--json"],
    ["credential", "restore", "demo-two"],
  ]) {
    said.set(args.join(" "), (await run(args)).all);
  }
  for (const path of ["/status", "/requests/x", "/credentials", "/vault", "/secrets", "/"]) {
    said.set(`control ${path}`, (await controlCall(data, "GET", path)).text);
  }
  for (const path of ["/metrics", "/healthz", "/readyz", "/"]) {
    said.set(`metrics ${path}`, await (await fetch(`http://127.0.0.1:${world.metricsPort}${path}`)).text());
  }
  assert.deepEqual(leaks(world), []);
  // The commands did speak of the credentials.
  assert.match(said.get("credential list ") ?? "", /demo-two/);
  assert.match(said.get("audit list --json") ?? "", /demo-two/);
});

test("G16 write-only: a command that shows something is in this test", async (t) => {
  const place = await initializedPlace(t);
  const known = new Set([...Object.keys(SHOWING), ...OTHERS]);
  const unknown = (await commandsOf(place)).filter((command) => !known.has(command));
  assert.deepEqual(unknown, [], "add it to the commands that are searched for secrets");
});

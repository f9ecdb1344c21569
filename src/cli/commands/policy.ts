import type { Command } from "commander";
import { explain } from "../../policy/explain.ts";
import { PolicyError } from "../../policy/problem.ts";
import type { Cli } from "../cli.ts";
import { CliError, EXIT } from "../failure.ts";
import { withVault } from "../open-vault.ts";
import { problemLine, renderTable } from "../output.ts";
import { readFixtures, runFixture } from "../policy-fixtures.ts";
import { type CheckedPolicy, compilePolicyFile, knownObjects, policyQuery } from "../policy-source.ts";

const DEFAULT_CLIENT = "app";

/** `policy check|explain|test|reload`. */
export function registerPolicy(program: Command, cli: Cli): void {
  const policy = program.command("policy").description("who may call what, with which key, how often");
  policy
    .command("check")
    .description("check policy.yaml; exit 1 if it could not take effect")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => checkPolicy(cli, options.json === true));
  policy
    .command("explain <url>")
    .description("rule by rule, what would happen to a request; exit 1 if it would be denied")
    .option("--client <name>", "who asks", DEFAULT_CLIENT)
    .option("--method <method>", "request method", "GET")
    .option("--json", "as JSON")
    .action((url: string, options: ExplainOptions) => explainUrl(cli, url, options));
  policy
    .command("test <fixtures.yaml>")
    .description("run expectations against policy.yaml; exit 1 if one fails")
    .option("--json", "as JSON")
    .action((file: string, options: { json?: boolean }) => testPolicy(cli, file, options.json === true));
  policy
    .command("reload")
    .description("make the running daemon read policy.yaml now")
    .action(() => reload(cli));
}

interface ExplainOptions {
  readonly client: string;
  readonly method: string;
  readonly json?: boolean;
}

function loadPolicy(cli: Cli): Promise<CheckedPolicy> {
  return withVault(cli, (vault) => compilePolicyFile(cli, knownObjects(vault, cli.now())));
}

async function checkPolicy(cli: Cli, json: boolean): Promise<void> {
  try {
    const { file, snapshot, warnings } = await loadPolicy(cli);
    if (json) return cli.terminal.json({ ok: true, file, problems: [], warnings });
    for (const warning of warnings) cli.terminal.warn(problemLine(file, warning));
    cli.terminal.status("ok", `${file}: routes ${snapshot.routes.length}, clients ${snapshot.clients.size}`);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    cli.exit(EXIT.failed);
    if (json) return cli.terminal.json({ ok: false, file: error.file, problems: error.problems, warnings: [] });
    for (const problem of error.problems) cli.terminal.status("fail", problemLine(error.file, problem));
    const count = error.problems.length;
    cli.terminal.note(`${count} ${count === 1 ? "problem" : "problems"}; a running daemon keeps its last good policy`);
  }
}

async function explainUrl(cli: Cli, url: string, options: ExplainOptions): Promise<void> {
  const query = policyQuery(url, options);
  const { file, snapshot, warnings } = await loadPolicy(cli);
  const { decision, steps } = explain(snapshot, query);
  if (!decision.allow) cli.exit(EXIT.failed);
  const route = decision.route?.id ?? null;
  if (options.json === true) {
    const verdict = decision.allow ? { allow: true } : { allow: false, code: decision.code, reason: decision.reason };
    return cli.terminal.json({ query, ...verdict, route, steps });
  }
  for (const step of steps) cli.terminal.status(step.ok ? "ok" : "fail", `${step.rule.padEnd(10)}  ${step.text}`);
  // A key that is not there yet is no matter of policy, and still the request would fail.
  for (const warning of warnings.filter(({ path }) => path.startsWith(`routes.${route}.`))) {
    cli.terminal.warn(problemLine(file, warning));
  }
  cli.terminal.out(
    decision.allow
      ? `allowed by route ${route}`
      : `denied: ${decision.code} (${decision.reason})${route === null ? "" : `, nearest route ${route}`}`,
  );
}

async function testPolicy(cli: Cli, file: string, json: boolean): Promise<void> {
  const fixtures = readFixtures(file);
  const { snapshot } = await loadPolicy(cli);
  const results = fixtures.map((fixture) => runFixture(snapshot, fixture));
  const failed = results.filter((result) => !result.pass).length;
  if (failed > 0) cli.exit(EXIT.failed);
  if (json) return cli.terminal.json(results);
  const rows = results.map((result) => [result.pass ? "pass" : "FAIL", result.name, result.expected, result.got]);
  cli.terminal.out(renderTable(["", "name", "expected", "got"], rows));
  cli.terminal.out(`${results.length - failed} of ${results.length} as expected`);
}

async function reload(cli: Cli): Promise<void> {
  const answer = await cli.daemon().reload();
  if (answer.ok) return cli.terminal.status("ok", "the daemon uses the policy file as it is now");
  throw new CliError(`the policy was refused, the last good one stays:\n${answer.problems.join("\n")}`, {
    nextStep: "see `sidekey policy check`",
  });
}

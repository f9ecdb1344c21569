import type { Command } from "commander";
import { checkSubmission } from "../../daemon/submission-check.ts";
import type { Credential } from "../../store/credentials.ts";
import { type OpenedSubmission, openSubmission } from "../../store/submission.ts";
import { type AcceptAs, acceptSubmission, assertFits, ownerText } from "../../store/submission-accept.ts";
import { checkCode, MAX_SUBMISSION_BYTES, parseSubmission, type Submission } from "../../store/submission-text.ts";
import type { Cli } from "../cli.ts";
import { CliError, usageError } from "../failure.ts";
import { withVault } from "../open-vault.ts";
import { formatTime, renderFacts } from "../output.ts";
import { wipeAll } from "../secret-input.ts";
import { readTextFile, readTextStream } from "../text-input.ts";

interface AcceptOptions {
  readonly as: string;
  readonly yes?: boolean;
  readonly check?: boolean;
  readonly validate: boolean;
}

/** `credential accept`: stores what somebody sealed with `sidekey seal`. */
export function registerCredentialAccept(credential: Command, cli: Cli): void {
  credential
    .command("accept <file>")
    .description("store a key that `sidekey seal` encrypted; `-` reads it from stdin")
    .option("--as <stage>", "current, or pending for a later `credential promote`", "current")
    .option("--yes", "do not ask")
    .option("--check", "say whether it would be accepted, and change nothing")
    .option("--no-validate", "store it although it does not look like a key of its provider")
    .action((file: string, options: AcceptOptions) => accept(cli, file, options));
}

async function accept(cli: Cli, file: string, options: AcceptOptions): Promise<void> {
  const as = parseStage(options.as);
  const asks = options.yes !== true && options.check !== true;
  if (asks && (file === "-" || !cli.prompter.interactive)) {
    throw usageError("there is nobody to ask", "look at it with --check first, then add --yes to store it");
  }
  const submission = parseSubmission(await readSubmission(cli, file));
  await withVault(cli, async (vault) => {
    const opened = vault.read((view) => openSubmission(view, submission));
    try {
      checkSubmission(cli.catalog(), opened, { shapes: options.validate });
      const existing = vault.read((view) => assertFits(view, opened.details, as, cli.now()));
      show(cli, submission, opened, existing);
      if (options.check === true) return cli.terminal.out("nothing speaks against it; nothing was changed");
      if (asks) await confirm(cli);
      const by = { as, actor: cli.actor };
      const stored = vault.write((transaction) => acceptSubmission(transaction, submission, opened, by));
      const { name } = stored.credential;
      cli.terminal.out(`stored ${name} version ${stored.version} (${as}), fingerprint ${opened.fingerprint}`);
      if (as === "pending") cli.terminal.note(`use it with \`sidekey credential promote ${name}\``);
    } finally {
      wipeAll(opened.fields);
    }
  });
}

function parseStage(text: string): AcceptAs {
  if (text === "current" || text === "pending") return text;
  throw usageError("--as takes current or pending");
}

function readSubmission(cli: Cli, file: string): string | Promise<string> {
  // Twice the size, so that a little too much is refused as what it is.
  if (file === "-") return readTextStream(cli.stdin, 2 * MAX_SUBMISSION_BYTES);
  return readTextFile(file, 2 * MAX_SUBMISSION_BYTES);
}

/** Everything but the key. On stderr: the answer to the question may be piped, the question is for a person. */
function show(cli: Cli, submission: Submission, opened: OpenedSubmission, existing: Credential | null): void {
  const { details, fingerprint } = opened;
  const what = existing === null ? "a new credential" : "a new version of a credential that exists";
  cli.terminal.note(
    renderFacts([
      ["check code", checkCode(submission.digest)],
      ["provider", `${details.provider} (${details.environment})`],
      ["name", `${details.name}, ${what}`],
      ["hosts", details.hosts.join(", ")],
      ["category", details.category],
      ["owner", ownerText(details.owner)],
      ["fields", [...opened.fields.keys()].join(", ")],
      ["expires", formatTime(details.expires)],
      ["sealed", details.created],
      ["fingerprint", fingerprint],
    ]),
  );
  cli.terminal.note("a sealed box has no sender: compare the check code with the one that whoever sealed it saw");
}

async function confirm(cli: Cli): Promise<void> {
  const answer = await cli.prompter.ask("store it? type yes", { hidden: false });
  const meant = answer.use((bytes) => bytes.equals(Buffer.from("yes")));
  answer.wipe();
  if (!meant) throw new CliError("not stored; nothing was changed");
}

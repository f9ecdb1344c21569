import type { Command } from "commander";
import type { Anchor, Mark } from "../../store/audit-anchor.ts";
import { openVault, type Vault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { CliError, usageError } from "../failure.ts";
import { askOnce, requireVault, toUnlocker } from "../open-vault.ts";
import { formatTime, renderFacts } from "../output.ts";

const SHORT_ID_DIGITS = 8;
const MAX_REASON = 500;

interface Options {
  readonly reason?: string;
  readonly yes?: boolean;
}

/** `vault acknowledge-rollback`: takes an older copy into use on an operator's word, signed and audited. */
export function registerAcknowledge(vault: Command, cli: Cli): void {
  vault
    .command("acknowledge-rollback")
    .description("take an older or another copy of vault.db into use: shows what is lost, asks, signs, records")
    .option("--reason <text>", "why, for the audit")
    .option("--yes", "do not ask for the vault's id")
    .action((options: Options) => acknowledge(cli, options));
}

async function acknowledge(cli: Cli, { reason = "", yes = false }: Options): Promise<void> {
  if (reason.length > MAX_REASON) throw usageError(`--reason takes at most ${MAX_REASON} characters`);
  const { dataDir, unlock } = cli.config();
  requireVault(dataDir);
  const unlockers = unlock.map((entry) => askOnce(toUnlocker(cli, entry)));
  const vault = openVault(dataDir, { actor: cli.actor });
  try {
    const { mark, anchor, problem } = await vault.examine(unlockers);
    if (problem === null) {
      return cli.terminal.note("vault.db and audit.anchor agree; there is nothing to acknowledge");
    }
    cli.terminal.note(renderFacts(factsOf(vault, { mark, anchor, problem: problem.problem })));
    if (!yes) await confirm(cli, vault.id.slice(0, SHORT_ID_DIGITS));
    await vault.unseal(unlockers, { acceptRollback: cli.actor, reason });
    cli.terminal.status(
      "ok",
      `acknowledged at audit entry ${vault.mark().seq - 1}; signed copy in ${dataDir}/acknowledgements`,
    );
    cli.terminal.note(NEXT);
  } finally {
    vault.close();
  }
}

const NEXT =
  "keys that were rotated or revoked since that copy are stored here with their older values, and revoked client\n" +
  "tokens may be back: compare `sidekey credential list` and `sidekey client list` with what you know";

interface Found {
  readonly mark: Mark;
  readonly anchor: Anchor | "missing" | "foreign";
  readonly problem: string;
}

function factsOf(vault: Vault, { mark, anchor, problem }: Found): [string, string][] {
  const newest = vault.listAudit({ limit: 1 })[0];
  const tokens = vault.listClientTokens().filter(({ revokedAt }) => revokedAt === null).length;
  return [
    ["vault", vault.id],
    ["found", problem],
    ["vault.db", `audit entry ${mark.seq} of ${formatTime(newest?.at)}, epoch ${mark.epoch}`],
    [
      "audit.anchor",
      typeof anchor === "string" ? anchor : `audit entry ${anchor.seq}, epoch ${anchor.epoch ?? "unknown"}`,
    ],
    ["lost", lost(mark, anchor)],
    ["kept", `${vault.listCredentials().length} credentials, ${tokens} client tokens`],
  ];
}

function lost(mark: Mark, anchor: Anchor | string): string {
  if (typeof anchor === "string") return "unknown: there is no anchor to compare with";
  if (anchor.seq <= mark.seq)
    return `what the other copy recorded since it parted, at the latest at audit entry ${anchor.seq}`;
  const changes = anchor.epoch === null ? "" : ` with ${Math.max(0, anchor.epoch - mark.epoch)} changes of the vault`;
  return `${anchor.seq - mark.seq} audit entries${changes}`;
}

async function confirm(cli: Cli, shortId: string): Promise<void> {
  if (!cli.prompter.interactive) {
    throw new CliError("no terminal to confirm at; nothing was changed", { nextStep: "run it at one, or add --yes" });
  }
  const typed = await cli.prompter.ask(`Type ${shortId} to take this copy into use`, { hidden: false });
  const same = typed.use((bytes) => bytes.equals(Buffer.from(shortId)));
  typed.wipe();
  if (!same) throw new CliError("that is not the vault's id; nothing was changed");
}

import type { Command } from "commander";

/** For an option that may be given more than once: all its values, in their order. */
export function collect(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}

/** What `makePlan` reads: the place of a new credential. */
export function withPlanOptions(command: Command): Command {
  return command
    .option("--name <name>", "name used in policy.yaml (default: <provider>-main)")
    .option("--category <category>", "key ring to seal it with (default: the provider's)")
    .option("--environment <name>", "e.g. live or paper (default: the provider's first)")
    .option("--host <host>", "host it may go to; repeat for more (default: the environment's)", collect, [])
    .option("--owner-user <id>", "it belongs to this user, not to the service")
    .option("--expires <span|date>", "when it ends, e.g. 90d or 2027-01-31");
}

/** Where a key comes from when it is not typed. There is none for the command line itself: others can read that. */
export function withSecretOptions(command: Command): Command {
  return command
    .option("--stdin", "read it from stdin: one field per line in the provider's order")
    .option("--file <field=path>", "read a field from a file; repeat for more", collect, []);
}

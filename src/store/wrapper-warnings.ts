/** Kinds that need another machine or another program to answer. */
const REMOTE_KINDS: ReadonlySet<string> = new Set(["exec", "vault-transit", "aws-kms"]);

/** What is risky about the only ways to open a vault or a backup, one sentence each with what to do; none when all is well. */
export function wrapperWarnings(wrappers: readonly { kind: string }[]): string[] {
  const kinds = [...new Set(wrappers.map(({ kind }) => kind))];
  if (kinds.length === 0 || !kinds.every((kind) => REMOTE_KINDS.has(kind))) return [];
  const what = `only ${kinds.join(" and ")} can open it: without that service or your account there, every credential is lost`;
  return [`${what}; add a way of your own: \`sidekey vault wrapper add passphrase\``];
}

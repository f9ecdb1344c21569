import type { Secret } from "../secret.ts";
import { canonicalJson } from "./canonical.ts";
import { ensureCategory } from "./categories.ts";
import { randomBytes } from "./crypto.ts";
import { VaultError, VaultTamperedError } from "./errors.ts";
import { assertNoHoneytoken } from "./honeytoken.ts";
import type { VaultTransaction, VaultView } from "./ledger.ts";
import { getRemoval, listRemovals, type Removal } from "./removals.ts";
import { eachRow, getRows, putRow, type Row } from "./rows.ts";
import {
  describeVersion,
  getVersion,
  insertVersion,
  makeCurrent,
  openVersion,
  type Version,
  type VersionBinding,
  type VersionRow,
} from "./versions.ts";

export type Owner = { readonly kind: "service" } | { readonly kind: "user"; readonly id: string };

/** A stored API key, without the key. */
export interface Credential {
  readonly id: string;
  readonly name: string;
  readonly provider: string;
  readonly environment: string;
  readonly category: string;
  readonly owner: Owner;
  /** `host` or `host:port`, sorted: where it may be sent. Part of what its values are sealed to. */
  readonly hosts: readonly string[];
  /** names of the secret fields */
  readonly fields: readonly string[];
  readonly state: "enabled" | "disabled";
  /** ms since the epoch */
  readonly expiresAt: number | null;
  readonly createdAt: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** oldest first */
  readonly versions: readonly Version[];
}

export interface NewCredential {
  name: string;
  provider: string;
  environment: string;
  category: string;
  hosts: readonly string[];
  owner: Owner;
  expiresAt?: number | null;
  metadata?: Readonly<Record<string, string>>;
}

/** Taken out of use; it can be restored until it is shredded. */
export interface RemovedCredential extends Removal {
  readonly credential: Credential;
}

interface CredentialRow {
  id: string;
  name: string;
  provider: string;
  environment: string;
  category: string;
  owner_kind: "service" | "user";
  owner_id: string | null;
  hosts: string;
  fields: string;
  state: "enabled" | "disabled";
  expires_at: number | null;
  metadata: string;
  created_at: number;
  mac: Buffer;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const FIELD_NAME = /^[a-z][a-z0-9_]{0,63}$/;
const HOST = /^[a-z0-9.:*[\]-]{1,300}$/;
const MAX_FIELD_BYTES = 64 * 1024;

/** Stores a credential with `fields` as version 1, current. */
export function addCredential(
  transaction: VaultTransaction,
  added: NewCredential,
  fields: ReadonlyMap<string, Secret>,
  actor: string,
): Credential {
  const { db, keys, now, note } = transaction;
  assertNew(added);
  assertFields(fields, null);
  const taken = getRows<CredentialRow>(db, keys, "credentials", { name: added.name })[0];
  if (taken !== undefined && getRemoval(transaction, taken.id) !== null) {
    throw new VaultError(
      "conflict",
      `credential "${added.name}" was removed and can still be restored; restore it, or \`sidekey credential remove ${added.name} --shred\` frees the name`,
    );
  }
  if (taken !== undefined) {
    throw new VaultError(
      "conflict",
      `credential "${added.name}" exists; choose another name, or rotate it to give it a new key`,
    );
  }
  const id = randomBytes(8).toString("hex");
  const hosts = [...new Set(added.hosts)].sort();
  const binding = { credential: id, category: added.category, provider: added.provider, hosts };
  const row: Row = {
    id,
    name: added.name,
    provider: added.provider,
    environment: added.environment,
    category: added.category,
    owner_kind: added.owner.kind,
    owner_id: added.owner.kind === "user" ? added.owner.id : null,
    hosts: canonicalJson(hosts),
    fields: canonicalJson([...fields.keys()]),
    state: "enabled",
    expires_at: added.expiresAt ?? null,
    metadata: canonicalJson({ ...added.metadata }),
    created_at: now,
  };
  // The foreign keys want the category first, then the credential, then its version.
  ensureCategory(transaction, added.category, actor);
  putRow(db, keys, "credentials", row);
  insertVersion(transaction, binding, { number: 1, stage: "current", fields, actor });
  const detail = { provider: added.provider, category: added.category, hosts: hosts.join(" "), version: 1 };
  note({ actor, action: "credential.add", object: `credential:${added.name}`, detail });
  return getCredential(transaction, added.name);
}

/** Adds a value. `current` replaces the current one, which becomes previous; `pending` waits for `promote`. */
export function addVersion(
  transaction: VaultTransaction,
  name: string,
  version: { fields: ReadonlyMap<string, Secret>; stage: "current" | "pending"; actor: string },
): Credential {
  const { db, keys, note } = transaction;
  const credential = getCredential(transaction, name);
  assertFields(version.fields, credential.fields);
  const number = 1 + Math.max(0, ...credential.versions.map((each) => each.number));
  insertVersion(transaction, bindingOf(credential), {
    number,
    stage: "pending",
    fields: version.fields,
    actor: version.actor,
  });
  if (version.stage === "current") makeCurrent(transaction, credential.id, number);
  const { fingerprint } = getVersion(db, keys, credential.id, number);
  const detail = { version: number, stage: version.stage, fingerprint };
  note({ actor: version.actor, action: "version.add", object: `credential:${name}`, detail });
  return getCredential(transaction, name);
}

/** Makes a pending or previous version the current one. */
export function promoteVersion(transaction: VaultTransaction, name: string, number: number, actor: string): Credential {
  const credential = getCredential(transaction, name);
  makeCurrent(transaction, credential.id, number);
  transaction.note({ actor, action: "version.promote", object: `credential:${name}`, detail: { version: number } });
  return getCredential(transaction, name);
}

/** Marks a version as never to be used again. The row stays as evidence. */
export function revokeVersion(transaction: VaultTransaction, name: string, number: number, actor: string): Credential {
  const { db, keys, note } = transaction;
  const credential = getCredential(transaction, name);
  const row = getVersion(db, keys, credential.id, number);
  putRow(db, keys, "versions", { ...row, stage: "revoked" });
  note({ actor, action: "version.revoke", object: `credential:${name}`, detail: { version: number, was: row.stage } });
  return getCredential(transaction, name);
}

export function setCredentialState(
  transaction: VaultTransaction,
  name: string,
  state: "enabled" | "disabled",
  actor: string,
): Credential {
  const { db, keys, note } = transaction;
  const row = findRow(transaction, { name }) ?? notFound(name, transaction);
  putRow(db, keys, "credentials", { ...row, state });
  const action = state === "enabled" ? "credential.enable" : "credential.disable";
  note({ actor, action, object: `credential:${name}`, detail: { was: row.state } });
  return getCredential(transaction, name);
}

/** Opens the secret fields of one version. The caller wipes them. */
export function openCredential(
  transaction: VaultTransaction,
  id: string,
  version: number,
  use: { purpose: string; actor: string },
): Map<string, Secret> {
  const { db, keys, note } = transaction;
  const row = findRow(transaction, { id });
  if (row === null) throw new VaultError("not_found", `no credential has the id ${id}; it may have been removed`);
  const credential = describe(row, []);
  if (credential.state !== "enabled")
    throw new VaultError("refused", `credential "${credential.name}" is disabled; enable it first`);
  assertNoHoneytoken(credential, "opened");
  const fields = openVersion(db, keys, bindingOf(credential), version);
  const detail = { version, purpose: use.purpose };
  note({ actor: use.actor, action: "secret.open", object: `credential:${credential.name}`, detail });
  return fields;
}

/** All credentials, by name. */
export function listCredentials({ db, keys }: VaultView): Credential[] {
  // Row by row, so that the ciphertext of a large vault is not in memory all at once.
  const versions = new Map<string, Version[]>();
  for (const row of eachRow<VersionRow>(db, keys, "versions")) {
    const known = versions.get(row.credential);
    if (known === undefined) versions.set(row.credential, [describeVersion(row)]);
    else known.push(describeVersion(row));
  }
  const removed = listRemovals({ db, keys });
  const list: Credential[] = [];
  for (const row of eachRow<CredentialRow>(db, keys, "credentials")) {
    if (!removed.has(row.id)) list.push({ ...describe(row, []), versions: versions.get(row.id) ?? [] });
  }
  return list.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Those that were taken out of use, by name. */
export function listRemoved(view: VaultView): RemovedCredential[] {
  const { db, keys } = view;
  const found = [...listRemovals(view)].flatMap(([id, removal]) => {
    const row = getRows<CredentialRow>(db, keys, "credentials", { id })[0];
    const versions = getRows<VersionRow>(db, keys, "versions", { credential: id });
    return row === undefined ? [] : [{ credential: describe(row, versions), ...removal }];
  });
  return found.sort((a, b) => (a.credential.name < b.credential.name ? -1 : 1));
}

/** @throws VaultError not_found */
export function getCredential(view: VaultView, name: string): Credential {
  const row = findRow(view, { name }) ?? notFound(name, view);
  return describe(row, getRows<VersionRow>(view.db, view.keys, "versions", { credential: row.id }));
}

/** @throws VaultError not_found */
export function getCredentialById(view: VaultView, id: string): Credential {
  const row = findRow(view, { id });
  if (row === null) throw new VaultError("not_found", `no credential has the id ${id}; it may have been removed`);
  return describe(row, getRows<VersionRow>(view.db, view.keys, "versions", { credential: id }));
}

/** The credentials of one provider that belong to one user, by name. */
export function findOwned({ db, keys }: VaultView, provider: string, userId: string): Credential[] {
  const where = { provider, owner_kind: "user", owner_id: userId };
  const removed = listRemovals({ db, keys });
  const rows = getRows<CredentialRow>(db, keys, "credentials", where).filter(({ id }) => !removed.has(id));
  const list = rows.map((row) => describe(row, getRows<VersionRow>(db, keys, "versions", { credential: row.id })));
  return list.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What the values of every credential are sealed to, by credential id; also of the removed ones. */
export function bindings({ db, keys }: VaultView): Map<string, VersionBinding> {
  const rows = getRows<CredentialRow>(db, keys, "credentials");
  return new Map(rows.map((row) => [row.id, bindingOf(describe(row, []))]));
}

/** A removed credential is as good as gone: nothing finds it but what restores or shreds it. */
function findRow(view: VaultView, where: { name: string } | { id: string }): CredentialRow | null {
  const row = getRows<CredentialRow>(view.db, view.keys, "credentials", where)[0];
  return row === undefined || getRemoval(view, row.id) !== null ? null : row;
}

function notFound(name: string, { db, keys }: VaultView): never {
  if (getRows<CredentialRow>(db, keys, "credentials", { name }).length > 0) {
    throw new VaultError(
      "not_found",
      `credential "${name}" was removed; \`sidekey credential restore ${name}\` brings it back`,
    );
  }
  throw new VaultError("not_found", `there is no credential "${name}"; \`sidekey credential list\` shows them`);
}

function bindingOf(credential: Credential): VersionBinding {
  const { id, category, provider, hosts } = credential;
  return { credential: id, category, provider, hosts };
}

function describe(row: CredentialRow, versions: readonly VersionRow[]): Credential {
  return {
    id: row.id,
    name: row.name,
    provider: row.provider,
    environment: row.environment,
    category: row.category,
    owner: row.owner_kind === "user" ? { kind: "user", id: row.owner_id ?? "" } : { kind: "service" },
    hosts: parseColumn(row, "hosts") as string[],
    fields: parseColumn(row, "fields") as string[],
    state: row.state,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    metadata: parseColumn(row, "metadata") as Record<string, string>,
    versions: versions.map(describeVersion),
  };
}

function parseColumn(row: CredentialRow, column: "hosts" | "fields" | "metadata"): unknown {
  try {
    return JSON.parse(row[column]);
  } catch {
    throw new VaultTamperedError(`vault.db credentials ${row.id}`, `the column "${column}" was edited`);
  }
}

function assertNew(added: NewCredential): void {
  const invalid = (what: string): never => {
    throw new VaultError("invalid", `credential "${added.name}": ${what}`);
  };
  if (!NAME.test(added.name)) invalid("use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit");
  if (added.provider === "" || added.environment === "") invalid("provider and environment must be named");
  if (added.hosts.length === 0) invalid("a credential without hosts could not be sent anywhere; give at least one");
  const bad = added.hosts.find((host) => !HOST.test(host));
  if (bad !== undefined) invalid(`host "${bad}" is not a lower-case name with an optional :port`);
  if (added.owner.kind === "user" && added.owner.id === "") invalid("the owning user has no id");
}

function assertFields(fields: ReadonlyMap<string, Secret>, expected: readonly string[] | null): void {
  if (fields.size === 0) throw new VaultError("invalid", "a credential needs at least one field");
  for (const [name, secret] of fields) {
    if (!FIELD_NAME.test(name))
      throw new VaultError("invalid", `field "${name}": use a-z 0-9 _ and begin with a letter`);
    if (secret.length === 0) throw new VaultError("invalid", `field "${name}" is empty`);
    if (secret.length > MAX_FIELD_BYTES) throw new VaultError("invalid", `field "${name}" is longer than 64 KiB`);
  }
  if (expected === null) return;
  const same = expected.length === fields.size && expected.every((name) => fields.has(name));
  if (!same)
    throw new VaultError("invalid", `this credential has the fields ${expected.join(", ")}; give exactly those`);
}

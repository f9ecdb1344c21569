/*
 * Schema of vault.db: entry n brings user_version n to n + 1. Entries are never edited once released;
 * a change is a new entry. STRICT tables, because a MAC over a value whose type can drift proves nothing.
 */
export const VAULT_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE vault (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    vault TEXT NOT NULL,
    format INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT;

  CREATE TABLE wrappers (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    params TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE categories (
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'destroyed')),
    public_key BLOB NOT NULL,
    private_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    environment TEXT NOT NULL,
    category TEXT NOT NULL REFERENCES categories (name),
    owner_kind TEXT NOT NULL CHECK (owner_kind IN ('service', 'user')),
    owner_id TEXT,
    hosts TEXT NOT NULL,
    fields TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    expires_at INTEGER,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX credentials_by_owner ON credentials (provider, owner_kind, owner_id);

  CREATE TABLE versions (
    credential TEXT NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('pending', 'current', 'previous', 'revoked')),
    generation INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    sealed_key BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (credential, number)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX versions_one_current ON versions (credential) WHERE stage = 'current';

  CREATE TABLE client_tokens (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    label TEXT NOT NULL,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE sealed_blobs (
    name TEXT PRIMARY KEY,
    sealed BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    state BLOB NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE category_generations (
    name TEXT NOT NULL REFERENCES categories (name),
    generation INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    private_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (name, generation)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE rotations (
    credential TEXT PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE rotation_policies (
    credential TEXT PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    policy TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE removals (
    credential TEXT PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    removed_at INTEGER NOT NULL,
    shred_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE submissions (
    digest TEXT PRIMARY KEY,
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE retired_roots (
    generation INTEGER PRIMARY KEY,
    audit_key BLOB NOT NULL,
    last_seq INTEGER NOT NULL,
    retired_at INTEGER NOT NULL,
    mac BLOB NOT NULL
  ) STRICT;
  `,
  `ALTER TABLE vault ADD COLUMN digest BLOB;`,
];

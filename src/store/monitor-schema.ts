/*
 * Schema of monitor.db: entry n brings user_version n to n + 1. Entries are never edited once released; a change is a
 * new entry. Everything here may be lost: it is learnt again by asking the providers.
 */
export const MONITOR_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE health (
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    checked_at INTEGER,
    next_at INTEGER,
    expires_at INTEGER,
    suspect_since INTEGER,
    detail TEXT NOT NULL,
    PRIMARY KEY (credential, version)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE checks (
    id INTEGER PRIMARY KEY,
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    meaning TEXT NOT NULL,
    status INTEGER,
    detail TEXT NOT NULL
  ) STRICT;
  CREATE INDEX checks_by_credential ON checks (credential, id);

  CREATE TABLE alerts (
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (kind, object)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE notices (
    credential TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    days INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    PRIMARY KEY (credential, expires_at, days)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE alert_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    lapses_at INTEGER,
    closed_at INTEGER,
    told INTEGER NOT NULL DEFAULT 0,
    acknowledged_at INTEGER,
    acknowledged_by TEXT
  ) STRICT;
  CREATE UNIQUE INDEX alert_events_open ON alert_events (kind, object) WHERE closed_at IS NULL;
  CREATE INDEX alert_events_closed ON alert_events (closed_at) WHERE closed_at IS NOT NULL;

  INSERT INTO alert_events (kind, object, severity, message, count, first_at, last_at)
    SELECT kind, object, severity, message, count, first_at, last_at FROM alerts ORDER BY first_at, kind, object;
  DROP TABLE alerts;
  CREATE TABLE provider_windows (
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    scope TEXT NOT NULL,
    kind TEXT NOT NULL,
    most INTEGER,
    remaining INTEGER,
    reset_at INTEGER,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (credential, version, scope, kind)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE provider_holds (
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    status INTEGER NOT NULL,
    until INTEGER NOT NULL,
    capped INTEGER NOT NULL,
    PRIMARY KEY (credential, version)
  ) STRICT, WITHOUT ROWID;
  `,
];

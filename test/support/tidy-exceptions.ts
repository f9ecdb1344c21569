import type { Exceptions } from "./tidy-owners.ts";

export const ENVIRONMENT: Exceptions = {
  "src/daemon/config.ts": "the one place that reads settings from the environment",
};
export const CONSOLE: Exceptions = { "src/cli/terminal.ts": "decides what may be printed and where" };
export const SQL: Exceptions = { "src/store/": "the only code that opens the databases" };
export const METRICS: Exceptions = { "src/daemon/metrics.ts": "the list of all metrics and their labels" };
export const CRYPTO: Exceptions = {
  "src/store/crypto.ts": "wraps libsodium and node:crypto for everyone else",
  "src/daemon/ingress/certificates.ts": "mints the leaf certificates",
  "src/daemon/ingress/certificate-authority.ts": "makes the root and the intermediate",
  "src/providers/auth/": "signatures are part of a provider's auth scheme",
};
export const SOCKETS: Exceptions = {
  "src/daemon/pipeline/dial.ts": "creates every upstream socket, vets its address and splices the secret",
  "src/daemon/control.ts": "asks its own control socket whether another daemon still listens there",
  "src/cli/daemon-client.ts": "talks to the daemon's own Unix socket, never to a network address",
};
/** Pure data tables, which may be as long as the data. */
export const TABLES: Exceptions = {};
/** Source files (or folders) without a test file of their name: `path: "why; test/the/one.test.ts"`. */
export const COVERED_ELSEWHERE: Exceptions = {};

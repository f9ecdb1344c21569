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
export const COVERED_ELSEWHERE: Exceptions = {
  "src/cli/checkup.ts": "the checks of `doctor`; test/cli/commands/doctor.test.ts",
  "src/cli/cli.ts": "types and wiring of every command; test/cli/main.test.ts",
  "src/cli/commands/credential-add.ts": "one command of its group; test/cli/commands/credential.test.ts",
  "src/cli/commands/requests.ts": "needs a running daemon; test/cli/commands/up.test.ts",
  "src/cli/commands/serve.ts": "`up` without the set-up; test/cli/commands/up.test.ts",
  "src/cli/commands/status.ts": "needs a running daemon; test/cli/commands/up.test.ts",
  "src/cli/commands/usage.ts": "needs a running daemon; test/cli/commands/up.test.ts",
  "src/cli/environment-format.ts": "the other half of environment.ts; test/cli/environment.test.ts",
  "src/cli/open-vault.ts": "opens the vault for commands; test/cli/commands/init.test.ts",
  "src/cli/policy-fixtures.ts": "the fixtures of `policy test`; test/cli/commands/policy.test.ts",
  "src/cli/policy-source.ts": "reads the policy for commands; test/cli/commands/policy.test.ts",
  "src/cli/prepare.ts": "set-up before `up` and `init`; test/cli/commands/init.test.ts",
  "src/daemon/config-file.ts": "the schema of daemon.yaml; test/daemon/config.test.ts",
  "src/daemon/daemon-status.ts": "what `status` prints; test/cli/commands/up.test.ts",
  "src/daemon/daemon.ts":
    "the composition root: every test of test/e2e and test/guarantees runs it; test/e2e/lifecycle.test.ts",
  "src/daemon/monitor/automatic-state.ts":
    "what an automatic rotation writes down; test/daemon/monitor/automatic-rotation.test.ts",
  "src/daemon/monitor/rotation-holders.ts":
    "who acts in an automatic rotation; test/daemon/monitor/automatic-rotation.test.ts",
  "src/daemon/monitor/rotators/":
    "each is run against a stand-in of its provider; test/daemon/monitor/automatic-rotation.test.ts",
  "src/daemon/monitor/wash.ts": "proven by a scan of the memory; test/guarantees/g02-minted-keys.test.ts",
  "src/daemon/monitor/provider-call.ts": "types and one error class; test/store/rotations.test.ts",
  "src/daemon/ingress/certificates.ts": "the signing half of the CA; test/daemon/ingress/certificate-authority.test.ts",
  "src/daemon/ingress/der.ts": "used by the trust store; test/daemon/ingress/trust-bundle.test.ts",
  "src/daemon/ingress/java-truststore.ts": "one of the trust files; test/daemon/ingress/trust-bundle.test.ts",
  "src/daemon/ingress/name-constraints.ts":
    "an extension, tried with real clients; test/daemon/ingress/certificates-clients.test.ts",
  "src/daemon/ingress/server.ts": "all forms arrive through it; test/e2e/forms.test.ts",
  "src/daemon/ingress/system-roots.ts": "input of the trust files; test/daemon/ingress/trust-bundle.test.ts",
  "src/daemon/loopback-identity.ts": "certificates inside the process; test/daemon/demo-provider.test.ts",
  "src/daemon/pipeline/clock.ts": "two one-liners; test/daemon/pipeline/limiter.test.ts",
  "src/daemon/pipeline/dial.ts":
    "needs real upstreams; test/guarantees/g05-vetted-dial.test.ts and test/e2e/upstream-proxy.test.ts",
  "src/daemon/pipeline/exchange.ts": "types only; test/daemon/pipeline/exchange-state.test.ts",
  "src/daemon/pipeline/forward.ts": "needs real streams; test/e2e/streaming.test.ts",
  "src/daemon/pipeline/limit-denied.ts": "the limiter's error; test/daemon/pipeline/limiter.test.ts",
  "src/daemon/pipeline/pipeline.ts": "the order of the stages, end to end; test/guarantees/g03-one-decision.test.ts",
  "src/daemon/pipeline/tunnel.ts": "needs a tunnel; test/e2e/tunnel.test.ts",
  "src/daemon/setup-config.ts": "a step of setup.ts; test/daemon/setup.test.ts",
  "src/daemon/setup-data-dir.ts": "a step of setup.ts; test/daemon/setup.test.ts",
  "src/daemon/start-error.ts": "one class; test/daemon/start-steps.test.ts",
  "src/daemon/unlock.ts": "a step of the start; test/cli/commands/up.test.ts",
  "src/providers/auth/": "every encoding is tried through its plan; test/providers/auth/plan.test.ts",
  "src/providers/build-provider.ts": "from file to Provider; test/providers/schema.test.ts",
  "src/providers/carrier-match.ts": "the matcher behind carriers.ts; test/providers/carriers.test.ts",
  "src/providers/file-format.ts": "the zod schema; test/providers/schema.test.ts",
  "src/providers/host-pattern.ts": "a line of a provider file; test/providers/schema.test.ts",
  "src/providers/template.ts": "a line of a provider file; test/providers/schema.test.ts",
  "src/store/refresh-write-back.ts": "one transaction; test/daemon/monitor/refresh.test.ts",
  "src/store/join-bytes.ts": "one function under every request to a key service; test/store/sigv4.test.ts",
  "src/store/monitor-schema.ts": "tables; test/store/monitor.test.ts",
  "src/store/create-vault.ts": "how a vault begins; test/store/vault.test.ts",
  "src/store/usage-record.ts": "what the writer writes; test/store/usage.test.ts",
  "src/store/usage-rollup.ts": "rollups equal the raw sum; test/store/usage.test.ts",
  "src/store/usage-schema.ts": "tables and constants; test/store/usage.test.ts",
  "src/store/usage-worker.ts": "the writer's thread; test/store/usage.test.ts",
};

import type { Environment } from "./config.ts";

export interface EnvironmentProblem {
  /** The variable, or the flag on node's own command line. */
  readonly name: string;
  /** `refuse`: do not start unless told to. `warn`: start and say so. */
  readonly severity: "refuse" | "warn";
  /** Names the variable or flag, never its value. */
  readonly message: string;
}

/** Flags that load foreign code, open a debugger or write memory, TLS keys or traffic somewhere (threats F1, F2). */
const DANGEROUS_FLAGS = new RegExp(
  `^(?:${[
    "--inspect(?:-.*)?|--debug-port|--experimental-(?:network|storage|worker)-inspection|--expose-internals",
    "-r|--require|--import|--loader|--experimental-loader|--experimental-(?:default-)?config-file|--snapshot-blob",
    "--tls-keylog|--trace-tls|--trace-event-.*|--tls-min-v1\\.[01]|--security-revert|--insecure-http-parser",
    "--heapsnapshot-.*|--heap-prof(?:-.*)?|--cpu-prof(?:-.*)?|--prof|--perf-.*|--report-.*|--experimental-report",
    "--abort-on-uncaught-exception|--redirect-warnings|--openssl-(?:config|shared-config|legacy-provider)",
    "--allow-natives-syntax",
  ].join("|")})$`,
);

/** Variables that have no business here, with what they do. A value in `unless` is harmless. */
const DANGEROUS_VARIABLES: readonly { name: string; does: string; only?: string; unless?: string }[] = [
  { name: "NODE_TLS_REJECT_UNAUTHORIZED", does: "turns TLS verification off", only: "0" },
  { name: "SSLKEYLOGFILE", does: "asks for TLS session keys on disk" },
  { name: "NODE_DEBUG", does: "prints request heads and keys to the log" },
  { name: "NODE_DEBUG_NATIVE", does: "prints request heads and keys to the log" },
  { name: "NODE_V8_COVERAGE", does: "opens the inspector and writes what it saw to disk" },
  { name: "NODE_REDIRECT_WARNINGS", does: "hides warnings in a file" },
  { name: "NODE_COMPILE_CACHE", does: "runs compiled code from a directory" },
  { name: "LD_PRELOAD", does: "loads foreign code into the process" },
  { name: "LD_AUDIT", does: "loads foreign code into the process" },
  { name: "DYLD_INSERT_LIBRARIES", does: "loads foreign code into the process" },
  { name: "OPENSSL_CONF", does: "can load foreign code into TLS", unless: "/dev/null" },
  { name: "OPENSSL_MODULES", does: "loads foreign code into TLS" },
  { name: "OPENSSL_ENGINES", does: "loads foreign code into TLS" },
];

const ADVICE = "prefer `ca:` on one entry of upstream.hosts";
const WARNED_VARIABLES: readonly { name: string; does: string }[] = [
  { name: "NODE_EXTRA_CA_CERTS", does: `adds authorities for every upstream; ${ADVICE}` },
  { name: "NODE_USE_SYSTEM_CA", does: `adds the system's authorities for every upstream; ${ADVICE}` },
  { name: "NODE_USE_ENV_PROXY", does: "sends own requests of sidekey through a proxy; use upstream.proxy" },
  { name: "LD_LIBRARY_PATH", does: "chooses the libraries that are loaded; make sure that only root can write there" },
  { name: "NODE_PATH", does: "adds places that code is loaded from; unset it" },
];

/**
 * What in the environment would undo sidekey's promises: a debugger or foreign code in the process, TLS
 * verification off, TLS keys, memory or request heads on disk.
 * @param nodeFlags flags that node itself was started with (process.execArgv)
 */
export function dangerousEnvironment(env: Environment, nodeFlags: readonly string[] = []): EnvironmentProblem[] {
  const problems: EnvironmentProblem[] = [];
  const add = (severity: EnvironmentProblem["severity"], name: string, message: string): void => {
    problems.push({ name, severity, message: `${name} ${message}` });
  };
  const fromOptions = (env.NODE_OPTIONS ?? "").split(/[\s"]+/);
  for (const [name, flags] of [
    ["NODE_OPTIONS", fromOptions],
    ["node", nodeFlags],
  ] as const) {
    for (const flag of flags.map((text) => text.replaceAll("_", "-").split("=", 1)[0] ?? "")) {
      if (DANGEROUS_FLAGS.test(flag))
        add("refuse", name, `has ${flag}, which can expose keys; start sidekey without it`);
    }
  }
  for (const { name, does, only, unless } of DANGEROUS_VARIABLES) {
    const value = env[name] ?? "";
    if (value !== "" && value !== unless && (only === undefined || value === only)) {
      add("refuse", name, `${does}; unset it`);
    }
  }
  for (const { name, does } of WARNED_VARIABLES) if (env[name]) add("warn", name, does);
  return problems;
}

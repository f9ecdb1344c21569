import type { Config, Environment } from "../daemon/config.ts";
import type { Catalog } from "../providers/catalog.ts";
import type { DaemonClient } from "./daemon-client.ts";
import type { Prompter } from "./prompt.ts";
import type { Terminal } from "./terminal.ts";

/** What every command gets: the terminal, the inputs and the configuration, read when first asked for. */
export interface Cli {
  readonly terminal: Terminal;
  readonly prompter: Prompter;
  /** Raw bytes; never decoded. */
  readonly stdin: AsyncIterable<Buffer | string>;
  readonly environment: Environment;
  /** Who the audit says did it: `cli:<os user>`. */
  readonly actor: string;
  readonly version: string;
  /** Where the package with its sample config lies. */
  readonly packageRoot: string;
  /** epoch milliseconds */
  now(): number;
  /** `--data` and `--config` as given; undefined when they were not. */
  overrides(): { readonly data: string | undefined; readonly config: string | undefined };
  /** Reads daemon.yaml. @throws ConfigError */
  config(): Config;
  /** Reads the provider files. @throws CatalogError */
  catalog(): Catalog;
  daemon(): DaemonClient;
  /** Exit code of a command that has said all it had to say. */
  exit(code: number): void;
}

import { existsSync } from "node:fs";
import { join } from "node:path";
import { encodeBasic } from "../providers/auth/basic.ts";
import type { Secret } from "../secret.ts";
import { openVault, VAULT_FILE, type Vault } from "../store/vault.ts";
import type { UpstreamProxyConfig } from "./config.ts";
import type { Address } from "./listen.ts";
import { createLoopbackIdentity } from "./loopback-identity.ts";
import { checkSplice, SELF_CHECK_HOST } from "./pipeline/self-check.ts";
import { StartError } from "./start-error.ts";

/** The vault of `dataDir`, still sealed. @throws StartError vault_missing, with the next step; DatabaseError */
export function existingVault(dataDir: string): Vault {
  if (existsSync(join(dataDir, VAULT_FILE))) return openVault(dataDir);
  throw new StartError("vault_missing", `there is no vault in ${dataDir}; run \`sidekey init\` first`);
}

/** @throws StartError self_check when secrets would not arrive where they belong */
export async function selfCheck(nowMs: number): Promise<void> {
  try {
    await checkSplice(await createLoopbackIdentity(SELF_CHECK_HOST, nowMs));
  } catch (error) {
    throw new StartError("self_check", error instanceof Error ? error.message : "self-check failed", error);
  }
}

/** @throws StartError port_in_use or io, naming the field of daemon.yaml */
export async function listenOn(
  field: string,
  wanted: Address,
  listen: (at: Address) => Promise<Address>,
): Promise<Address> {
  try {
    return await listen(wanted);
  } catch (cause) {
    const what = `${field}: cannot listen on ${wanted.host}:${wanted.port}`;
    const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
    if (code === "EADDRINUSE") {
      throw new StartError(
        "port_in_use",
        `${what}, the port is in use; stop the other program or change ${field} in daemon.yaml`,
      );
    }
    throw new StartError("io", `${what} (${code}); change ${field} in daemon.yaml`, cause);
  }
}

/** What a corporate proxy wants in Proxy-Authorization, in bytes; null when it wants none. Wipes the password. */
export function proxyCredentials({ user, password }: UpstreamProxyConfig): Secret | null {
  if (user === null || password === null) return null;
  try {
    return encodeBasic(
      { prefix: user, suffix: "", field: null },
      { prefix: "", suffix: "", field: "password" },
      new Map([["password", password]]),
    );
  } finally {
    password.wipe();
  }
}

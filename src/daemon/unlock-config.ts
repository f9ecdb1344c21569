import { z } from "zod";
import type { AwsCredentialSource } from "../store/wrappers/aws-credentials.ts";
import type { AwsKmsUnlocker } from "../store/wrappers/aws-kms.ts";
import type { ExecUnlocker } from "../store/wrappers/exec.ts";
import type { SystemdUnlocker } from "../store/wrappers/systemd.ts";
import type { TransitUnlocker } from "../store/wrappers/vault-transit.ts";
import { duration, path, text } from "./config-value.ts";

/** An entry of `unlock:`, every path absolute. What asks a person becomes an unlocker where the terminal is. */
export type UnlockConfig =
  | { readonly file: string; readonly timeoutMs?: number }
  | { readonly passphrase: "prompt"; readonly timeoutMs?: number }
  | { readonly shares: "prompt" | readonly string[]; readonly timeoutMs?: number }
  | { readonly unlocker: SystemdUnlocker | ExecUnlocker | TransitUnlocker | AwsKmsUnlocker };

const KINDS = ["file", "passphrase", "systemd", "exec", "vaultTransit", "awsKms", "shares"] as const;

/** Goes into header fields, URLs and JSON. */
const plain = (what: string) => z.string().regex(/^[\x21-\x7e]{1,2048}$/, `is not ${what}; write it without spaces`);
const mount = z.string().regex(/^[\w.-]+(?:\/[\w.-]+)*$/, "is not a mount path; write it without slashes at its ends");
const origin = text((value) => {
  const url = URL.parse(value);
  if (
    url?.protocol === "https:" &&
    url.pathname === "/" &&
    url.username + url.password + url.search + url.hash === ""
  ) {
    return url.origin;
  }
  throw new Error("is not https://host or https://host:port; write it without a path");
});

const transitAuth = z
  .strictObject({
    token: path.optional(),
    appRole: z.strictObject({ roleId: plain("a role id"), secretId: path, mount: mount.default("approle") }).optional(),
    kubernetes: z.strictObject({ role: plain("a role"), jwt: path, mount: mount.default("kubernetes") }).optional(),
  })
  .transform((auth, context) => {
    const given = Object.values(auth).filter((one) => one !== undefined).length;
    if (given === 1 && auth.token !== undefined) return { token: auth.token };
    if (given === 1 && auth.appRole !== undefined) return { appRole: auth.appRole };
    if (given === 1 && auth.kubernetes !== undefined) return { kubernetes: auth.kubernetes };
    context.addIssue({ code: "custom", message: "write exactly one of token, appRole and kubernetes" });
    return z.NEVER;
  });

const vaultTransit = z.strictObject({
  address: origin,
  key: z.string().regex(/^[\w.-]{1,256}$/, "is not the name of a transit key"),
  mount: mount.default("transit"),
  namespace: plain("a namespace").nullable().default(null),
  ca: path.optional(),
  auth: transitAuth,
});

const awsKms = z.strictObject({
  key: plain("a key id, ARN or alias"),
  region: z.string().regex(/^[a-z]{2}(?:-[a-z]+)+-\d{1,2}$/, "is not a region, such as eu-west-1"),
  endpoint: origin.nullable().default(null),
  stsEndpoint: origin.nullable().default(null),
  ca: path.optional(),
  credentials: z.union(
    [
      z.literal("instance"),
      z.literal("webIdentity"),
      z.strictObject({ file: path, profile: plain("a profile").default("default") }),
    ],
    "write instance, webIdentity or { file: <path> }",
  ),
});

/** One entry of `unlock:` as written: one kind, and how long it may take. */
export const unlockEntry = z
  .strictObject({
    file: path.optional(),
    passphrase: z.literal("prompt").optional(),
    systemd: z
      .string()
      .regex(/^[A-Za-z0-9][\w.-]{0,254}$/, "is not the name of a credential")
      .optional(),
    exec: z
      .tuple([z.string().startsWith("/", "is not an absolute path; write the program's full path")], z.string())
      .optional(),
    vaultTransit: vaultTransit.optional(),
    awsKms: awsKms.optional(),
    shares: z
      .union([z.literal("prompt"), z.array(path).min(1).max(255)], "write prompt, or a list of files")
      .optional(),
    timeout: duration(100, 600_000).optional(),
  })
  .refine((entry) => KINDS.filter((kind) => entry[kind] !== undefined).length === 1, {
    error: `write exactly one of ${KINDS.join(", ")}`,
    // Also when a value has a problem of its own: several kinds in one entry are then two.
    when: ({ value }) => typeof value === "object" && value !== null,
  });

export type UnlockEntry = z.output<typeof unlockEntry>;

/** What an entry may need from its surroundings. */
export interface UnlockSurroundings {
  /** A path of the file made absolute. */
  readonly at: (path: string) => string;
  /** The PEM in a file; a problem is reported for the key `name` of the entry's kind. */
  readonly readPem: (file: string, path: readonly string[]) => string | null;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** What a program is given of our environment: enough to find its own files, no settings and no secrets. */
const PASSED_ON = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR"] as const;
const INSTANCE_METADATA = "http://169.254.169.254";
const CONTAINER_AGENT = "http://169.254.170.2";

export function resolveUnlock(entry: UnlockEntry, around: UnlockSurroundings): UnlockConfig {
  const { at, environment } = around;
  const timed = entry.timeout === undefined ? {} : { timeoutMs: entry.timeout };
  if (entry.file !== undefined) return { file: at(entry.file), ...timed };
  if (entry.systemd !== undefined) {
    const directory = environment.CREDENTIALS_DIRECTORY || null;
    return { unlocker: { kind: "systemd", name: entry.systemd, directory, ...timed } };
  }
  if (entry.exec !== undefined) {
    return { unlocker: { kind: "exec", argv: entry.exec, environment: execEnvironment(environment), ...timed } };
  }
  if (entry.vaultTransit !== undefined)
    return { unlocker: { ...transitUnlocker(entry.vaultTransit, around), ...timed } };
  if (entry.awsKms !== undefined) return { unlocker: { ...awsUnlocker(entry.awsKms, around), ...timed } };
  if (entry.shares !== undefined)
    return { shares: entry.shares === "prompt" ? "prompt" : entry.shares.map(at), ...timed };
  return { passphrase: "prompt", ...timed };
}

/** The whole environment of a program that prints the key. */
export function execEnvironment(environment: UnlockSurroundings["environment"]): Record<string, string> {
  return Object.fromEntries(
    PASSED_ON.flatMap((name) => {
      const value = environment[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function transitUnlocker(entry: z.output<typeof vaultTransit>, { at, readPem }: UnlockSurroundings): TransitUnlocker {
  const { address, key, mount, namespace, auth } = entry;
  const ca = entry.ca === undefined ? null : readPem(at(entry.ca), ["vaultTransit", "ca"]);
  return { kind: "vault-transit", address, key, mount, namespace, ca, auth: absoluteAuth(auth, at) };
}

function absoluteAuth(auth: TransitUnlocker["auth"], at: (path: string) => string): TransitUnlocker["auth"] {
  if ("token" in auth) return { token: at(auth.token) };
  if ("appRole" in auth) return { appRole: { ...auth.appRole, secretId: at(auth.appRole.secretId) } };
  return { kubernetes: { ...auth.kubernetes, jwt: at(auth.kubernetes.jwt) } };
}

function awsUnlocker(entry: z.output<typeof awsKms>, around: UnlockSurroundings): AwsKmsUnlocker {
  const { key, region, endpoint } = entry;
  const ca = entry.ca === undefined ? null : around.readPem(around.at(entry.ca), ["awsKms", "ca"]);
  return { kind: "aws-kms", key, region, endpoint, ca, credentials: awsCredentials(entry, around) };
}

/** The variables are those of AWS's own SDKs ("Standardized credential providers", AWS SDKs and Tools Reference). */
function awsCredentials(entry: z.output<typeof awsKms>, { at, environment }: UnlockSurroundings): AwsCredentialSource {
  if (typeof entry.credentials === "object") return { ...entry.credentials, file: at(entry.credentials.file) };
  if (entry.credentials === "webIdentity") {
    return {
      webIdentity: {
        roleArn: environment.AWS_ROLE_ARN || null,
        tokenFile: environment.AWS_WEB_IDENTITY_TOKEN_FILE || null,
        sessionName: environment.AWS_ROLE_SESSION_NAME || "sidekey",
        endpoint: entry.stsEndpoint,
      },
    };
  }
  const relative = environment.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI;
  const full = relative ? `${CONTAINER_AGENT}${relative}` : environment.AWS_CONTAINER_CREDENTIALS_FULL_URI;
  const tokenFile = environment.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE || null;
  if (full) return { container: { url: full, tokenFile } };
  return { instance: { url: environment.AWS_EC2_METADATA_SERVICE_ENDPOINT || INSTANCE_METADATA } };
}

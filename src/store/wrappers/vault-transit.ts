import type { Secret } from "../../secret.ts";
import { canonicalBytes } from "../canonical.ts";
import { base64Encode } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import { joinBytes } from "../join-bytes.ts";
import { type HttpsAnswer, httpsCall } from "./https-call.ts";
import { jsonMember } from "./json-member.ts";
import type { OpenContext, Opener, Place, Timed } from "./opener.ts";
import { decodedKey, remoteOpener } from "./remote-key.ts";
import { readTokenFile } from "./side-file.ts";

/** How sidekey shows the server who it is. Files are read when the vault is opened. */
export type TransitAuth =
  | { readonly token: string }
  | { readonly appRole: { readonly roleId: string; readonly secretId: string; readonly mount: string } }
  | { readonly kubernetes: { readonly role: string; readonly jwt: string; readonly mount: string } };

/** The transit engine of HashiCorp Vault or OpenBao (HTTP API of the "transit" secrets engine). */
export interface TransitUnlocker extends Timed {
  readonly kind: "vault-transit";
  /** https://host:port */
  readonly address: string;
  readonly key: string;
  readonly mount: string;
  readonly namespace: string | null;
  /** PEM of its authority; null for the public ones */
  readonly ca: string | null;
  readonly auth: TransitAuth;
}

type Post = (path: string, body: Buffer, token: Secret | null) => Promise<HttpsAnswer>;

/** Logs in. @throws UnlockError unreachable, denied, lying, missing, permissions or malformed */
export async function openTransit(unlocker: TransitUnlocker, context: OpenContext): Promise<Opener> {
  const { address, key, mount } = unlocker;
  const name = new URL(address).host;
  const post = poster(unlocker, context);
  const token = await login(unlocker.auth, post, name);
  const at = (verb: string): string => `${segments(mount)}/${verb}/${encodeURIComponent(key)}`;
  const call = async (
    verb: string,
    parts: readonly (string | Secret | Buffer)[],
    member: string,
  ): Promise<Secret | null> => {
    const body = joinBytes(parts);
    const answer = await post(at(verb), body, token);
    body.fill(0);
    try {
      if (answer.status !== 200) throw refused(answer.status, name, `${verb} with the key ${key}`);
      return jsonMember(answer.body, ["data", member]);
    } finally {
      answer.body.fill(0);
    }
  };
  const cipher = {
    name,
    encrypt: async (plain: Secret, place: Place) => {
      const text = plain.use(base64Encode);
      const found = await call("encrypt", ['{"plaintext":"', text, `",${associatedData(place)}}`], "ciphertext");
      text.fill(0);
      const ciphertext = found?.use((bytes) => bytes.toString("latin1")) ?? "";
      if (/^vault:v\d{1,9}:[A-Za-z0-9+/=]+$/.test(ciphertext)) return ciphertext;
      throw new UnlockError(
        "lying",
        `${name} answered something that is not transit's format; is it the right address?`,
      );
    },
    decrypt: async (ciphertext: string, place: Place) => {
      const parts = [`{"ciphertext":${JSON.stringify(ciphertext)},${associatedData(place)}}`];
      return decodedKey(await call("decrypt", parts, "plaintext"), name);
    },
  };
  return remoteOpener(cipher, unlocker.kind, [token]);
}

/** Without the right vault and wrapper, transit refuses to decrypt. */
function associatedData({ vault, wrapper }: Place): string {
  const bytes = canonicalBytes({ purpose: "sidekey root key", vault, wrapper });
  return `"associated_data":"${bytes.toString("base64")}"`;
}

function poster({ address, namespace, ca }: TransitUnlocker, { signal }: OpenContext): Post {
  return async (path, body, token) => {
    const fields: [string, string][] = [
      ["Content-Type", "application/json"],
      ["X-Vault-Request", "true"],
    ];
    if (namespace !== null) fields.push(["X-Vault-Namespace", namespace]);
    if (token !== null) fields.push(["X-Vault-Token", "{token}"]);
    const secrets = new Map(token === null ? [] : [["token", token] as const]);
    const url = new URL(`/v1/${path}`, address);
    return await httpsCall({ method: "POST", url, fields, secrets, body, ca }, signal);
  };
}

async function login(auth: TransitAuth, post: Post, name: string): Promise<Secret> {
  if ("token" in auth) return readTokenFile(auth.token, "a token of the key server");
  const { path, file, before } = loginOf(auth);
  const secret = readTokenFile(file, "kubernetes" in auth ? "a service account token" : "a secret id");
  const body = joinBytes([before, secret, '"}']);
  secret.wipe();
  const answer = await post(path, body, null);
  body.fill(0);
  try {
    if (answer.status !== 200) throw refused(answer.status, name, "login");
    const token = jsonMember(answer.body, ["auth", "client_token"]);
    if (token?.use((bytes) => bytes.length > 0 && bytes.every((byte) => byte > 0x20 && byte < 0x7f))) return token;
    throw new UnlockError("lying", `${name} answered a login with no token; is it the right address?`);
  } finally {
    answer.body.fill(0);
  }
}

function loginOf(auth: Exclude<TransitAuth, { token: string }>): { path: string; file: string; before: string } {
  if ("appRole" in auth) {
    const { roleId, secretId, mount } = auth.appRole;
    const before = `{"role_id":${JSON.stringify(roleId)},"secret_id":"`;
    return { path: `auth/${segments(mount)}/login`, file: secretId, before };
  }
  const { role, jwt, mount } = auth.kubernetes;
  return { path: `auth/${segments(mount)}/login`, file: jwt, before: `{"role":${JSON.stringify(role)},"jwt":"` };
}

function segments(mount: string): string {
  return mount.split("/").map(encodeURIComponent).join("/");
}

/** What the server says besides the status is not repeated: it may quote what it was sent. */
function refused(status: number, name: string, what: string): UnlockError {
  const says = `${name} refused ${what} (HTTP ${status})`;
  if (status === 403)
    return new UnlockError("denied", `${says}: the token has expired or its policy does not allow it`);
  if (status === 400) {
    const text =
      what === "login"
        ? "the role or its secret is wrong or has expired"
        : "it is not this vault's ciphertext, or the key is gone";
    return new UnlockError(what === "login" ? "denied" : "wrong_key", `${says}: ${text}`);
  }
  if (status === 404)
    return new UnlockError("unavailable", `${says}: there is nothing at that mount; check mount and namespace`);
  if (status === 503) return new UnlockError("unreachable", `${says}: the server is sealed or in maintenance`);
  if (status >= 300 && status < 400) {
    return new UnlockError("unreachable", `${says}: redirects are not followed; name the active server`);
  }
  return new UnlockError("unreachable", `${says}; try again`);
}

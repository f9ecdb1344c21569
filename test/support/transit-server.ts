import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { TestContext } from "node:test";
import type { TransitUnlocker } from "../../src/store/wrappers/vault-transit.ts";
import {
  type ReceivedRequest,
  type StandIn,
  type StandInAnswer,
  type StandInOptions,
  startStandIn,
} from "./stand-in.ts";

/*
 * A key server that speaks what HashiCorp publishes for Vault's transit engine and for its AppRole and Kubernetes logins
 * (developer.hashicorp.com/vault/api-docs/secret/transit, /auth/approle, /auth/kubernetes), as far as sidekey uses it.
 */
export const TRANSIT_HOST = "localhost";
export const ROLE_ID = "9b6a6a3c-role";
export const SECRET_ID = "canary-4f0c-secret-id";
export const JWT = "eyJhbGciOi.canary.jwt";
export const STATIC_TOKEN = "hvs.canary-static-token";

export interface TransitServer extends StandIn {
  readonly address: string;
  /** Every token stops being accepted, as when it has expired. */
  expireTokens(): void;
  /** Answers the next requests itself instead of the server. */
  answerWith(answer: (request: ReceivedRequest) => StandInAnswer | undefined | "hang"): void;
  /** An unlocker with a login of the right kind; `auth` has the paths of the files. */
  unlocker(auth: TransitUnlocker["auth"], extra?: Partial<TransitUnlocker>): TransitUnlocker;
}

type Body = Record<string, string>;

export async function startTransit(t: TestContext, options: Partial<StandInOptions> = {}): Promise<TransitServer> {
  const key = randomBytes(32);
  const tokens = new Set([STATIC_TOKEN]);
  let override: ((request: ReceivedRequest) => StandInAnswer | undefined | "hang") | null = null;
  const login = (body: Body): StandInAnswer => {
    const approle = body.role_id === ROLE_ID && body.secret_id === SECRET_ID;
    const kubernetes = body.role === "sidekey" && body.jwt === JWT;
    if (!approle && !kubernetes) return json(400, { errors: ["invalid role or secret ID"] });
    const token = `hvs.${randomBytes(12).toString("hex")}`;
    tokens.add(token);
    return json(200, { request_id: "1", auth: { client_token: token, lease_duration: 3600, policies: ["sidekey"] } });
  };
  const crypt = (verb: string, body: Body): StandInAnswer => {
    const aad = Buffer.from(body.associated_data ?? "", "base64");
    return verb === "encrypt" ? encrypt(key, body.plaintext ?? "", aad) : decrypt(key, body.ciphertext ?? "", aad);
  };
  const standIn = await startStandIn(t, {
    hostnames: [TRANSIT_HOST],
    ...options,
    handler: (request) => {
      const own = override?.(request);
      if (own === "hang") return undefined;
      if (own !== undefined) return own;
      const body = JSON.parse(request.body.toString("utf8")) as Body;
      if (/^\/v1\/auth\/(?:approle|kubernetes)\/login$/.test(request.target)) return login(body);
      const verb = /^\/v1\/transit\/(encrypt|decrypt)\/sidekey$/.exec(request.target)?.[1];
      if (verb === undefined) return json(404, { errors: [] });
      if (!tokens.has(request.values("x-vault-token")[0] ?? "")) return json(403, { errors: ["permission denied"] });
      return crypt(verb, body);
    },
  });
  const address = `https://${TRANSIT_HOST}:${standIn.port}`;
  return {
    ...standIn,
    address,
    expireTokens: () => tokens.clear(),
    answerWith: (answer) => {
      override = answer;
    },
    unlocker: (auth, extra = {}) => {
      const common = { key: "sidekey", mount: "transit", namespace: null, ca: standIn.caPem } as const;
      return { kind: "vault-transit", address, ...common, auth, ...extra };
    },
  };
}

function encrypt(key: Buffer, plaintext: string, aad: Buffer): StandInAnswer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(aad);
  const bytes = Buffer.concat([
    nonce,
    cipher.update(Buffer.from(plaintext, "base64")),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  return json(200, { request_id: "2", data: { ciphertext: `vault:v1:${bytes.toString("base64")}`, key_version: 1 } });
}

function decrypt(key: Buffer, ciphertext: string, aad: Buffer): StandInAnswer {
  const bytes = Buffer.from(ciphertext.replace(/^vault:v1:/, ""), "base64");
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12)).setAAD(aad);
    decipher.setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
    return json(200, { request_id: "3", data: { plaintext: plain.toString("base64") } });
  } catch {
    return json(400, { errors: ["cipher: message authentication failed"] });
  }
}

export function json(status: number, value: unknown, type = "application/json"): StandInAnswer {
  return { status, headers: { "content-type": type }, body: JSON.stringify(value) };
}

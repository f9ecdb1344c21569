import { Secret, secretBuffer } from "../../secret.ts";
import type { OAuth2Auth, Template } from "../schema.ts";
import { encodeBasic } from "./basic.ts";
import type { InjectionPlan } from "./plan.ts";
import { encodePercent } from "./query.ts";

/** The field that holds an access token; no provider stores one. */
export const ACCESS_TOKEN = "access_token";

/** `Authorization: Bearer <access token>` (RFC 6750 section 2.1). */
export function planOAuth2(rule: OAuth2Auth): InjectionPlan {
  const render = { encoding: "raw" as const, fields: [ACCESS_TOKEN] };
  return {
    headers: [{ name: "authorization", prefix: "Bearer ", suffix: "", render }],
    query: [],
    body: null,
    token: rule,
  };
}

/** The request for an access token, with every secret in bytes. The caller wipes `body` and `secrets`. */
export interface TokenRequest {
  readonly host: string;
  readonly path: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly secrets: ReadonlyMap<string, Secret>;
  readonly body: Buffer;
}

/**
 * RFC 6749 section 4.4.2 (client credentials) or 6 (refresh token).
 * @throws Error that names the field when one is missing
 */
export function tokenRequest(rule: OAuth2Auth, fields: ReadonlyMap<string, Secret>): TokenRequest {
  const named = (name: string): Secret => {
    const secret = fields.get(name);
    if (secret === undefined) throw new Error(`credential has no field "${name}"; add a version that has it`);
    return secret;
  };
  const parts: (readonly [string, string | Secret])[] = [["grant_type", rule.grant.replace("-", "_")]];
  if (rule.refreshToken !== null) parts.push(["refresh_token", named(rule.refreshToken)]);
  if (rule.clientAuth === "body") {
    parts.push(["client_id", named(rule.clientId)], ["client_secret", named(rule.clientSecret)]);
  }
  if (rule.scope !== null) parts.push(["scope", rule.scope]);
  const secrets = new Map<string, Secret>();
  for (const [, name = ""] of rule.tokenPath.matchAll(/\{([^{}]*)\}/g)) {
    secrets.set(
      name,
      named(name).use((bytes) => Secret.copyOf(bytes)),
    );
  }
  const headers: [string, string][] = [
    ["accept", "application/json"],
    ["content-type", "application/x-www-form-urlencoded"],
  ];
  if (rule.clientAuth === "basic") {
    secrets.set("client_basic", encodeBasic(whole(rule.clientId), whole(rule.clientSecret), fields));
    headers.push(["authorization", "Basic {client_basic}"]);
  }
  return { host: rule.tokenHost, path: rule.tokenPath, fields: headers, secrets, body: form(parts) };
}

function whole(field: string): Template {
  return { prefix: "", suffix: "", field };
}

function form(parts: readonly (readonly [string, string | Secret])[]): Buffer {
  const encoded = parts.map(([name, value]) => {
    const bytes = typeof value === "string" ? encodePercent(Buffer.from(value)) : value.use(encodePercent);
    return { name, bytes };
  });
  const body = secretBuffer(encoded.reduce((sum, { name, bytes }) => sum + name.length + bytes.length + 2, -1));
  let at = 0;
  for (const { name, bytes } of encoded) {
    at += body.write(`${at === 0 ? "" : "&"}${name}=`, at, "latin1");
    at += bytes.copy(body, at);
    bytes.fill(0);
  }
  return body;
}

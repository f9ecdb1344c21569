import type { Secret } from "../secret.ts";
import { hmacSha256, sha256 } from "./crypto.ts";
import { joinBytes } from "./join-bytes.ts";

/** AWS credentials, long-lived (no session token) or temporary. The owner wipes both secrets. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretKey: Secret;
  readonly sessionToken: Secret | null;
}

/** The request as it goes over the wire, but for what `signAwsRequest` returns. */
export interface AwsRequest {
  readonly method: string;
  /** What the Host field says: with the port when it is not the scheme's. */
  readonly host: string;
  /** Path with query, percent-encoded as it is sent. */
  readonly path: string;
  /** Fields to sign besides Host and X-Amz-Date, all without secrets; a name may repeat. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

export interface AwsScope {
  readonly service: string;
  readonly region: string;
  /** ms since the epoch; AWS accepts five minutes of difference */
  readonly nowMs: number;
}

/** Where a session token goes. The caller sends it: it is a secret, and a Secret becomes no string here. */
export const SESSION_TOKEN_FIELD = "x-amz-security-token";

/**
 * AWS Signature Version 4 in the Authorization field ("Create a signed AWS API request", IAM User Guide), for every
 * service but S3, whose paths are encoded only once.
 * @returns the fields `x-amz-date` and `authorization` to add. With a session token the caller also sends
 *   `SESSION_TOKEN_FIELD`, which the signature covers.
 */
export function signAwsRequest(request: AwsRequest, credentials: AwsCredentials, scope: AwsScope): [string, string][] {
  const time = new Date(scope.nowMs).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const day = time.slice(0, 8);
  const place = `${day}/${scope.region}/${scope.service}/aws4_request`;
  const { digest, signed } = canonicalDigest(request, time, credentials.sessionToken);
  const text = `AWS4-HMAC-SHA256\n${time}\n${place}\n${digest}`;
  const key = signingKey(credentials.secretKey, [day, scope.region, scope.service, "aws4_request"]);
  const signature = hmacSha256(key, text).toString("hex");
  key.fill(0);
  const parts = [`Credential=${credentials.accessKeyId}/${place}`, `SignedHeaders=${signed}`, `Signature=${signature}`];
  return [
    ["x-amz-date", time],
    ["authorization", `AWS4-HMAC-SHA256 ${parts.join(", ")}`],
  ];
}

/** The canonical request's SHA-256. It is put together in bytes, because a session token is a part of it. */
function canonicalDigest(request: AwsRequest, time: string, token: Secret | null): { digest: string; signed: string } {
  const fields = canonicalFields([...request.fields, ["host", request.host], ["x-amz-date", time]]);
  if (token !== null) fields.set(SESSION_TOKEN_FIELD, token);
  const names = [...fields.keys()].sort();
  const [path = "/", query = ""] = splitOnce(request.path, "?");
  const parts: (string | Secret)[] = [`${request.method}\n${canonicalPath(path)}\n${canonicalQuery(query)}\n`];
  for (const name of names) parts.push(`${name}:`, fields.get(name) ?? "", "\n");
  const signed = names.join(";");
  parts.push(`\n${signed}\n${sha256(request.body).toString("hex")}`);
  const bytes = joinBytes(parts);
  const digest = sha256(bytes).toString("hex");
  bytes.fill(0);
  return { digest, signed };
}

function canonicalFields(fields: readonly (readonly [string, string])[]): Map<string, string | Secret> {
  const values = new Map<string, string[]>();
  for (const [name, value] of fields) {
    const list = values.get(name.toLowerCase()) ?? [];
    list.push(value.trim().replace(/ +/g, " "));
    values.set(name.toLowerCase(), list);
  }
  return new Map([...values].map(([name, list]) => [name, list.join(",")]));
}

/** HMAC over HMAC, from the secret key through the parts of the scope. The caller wipes it. */
function signingKey(secretKey: Secret, scope: readonly string[]): Buffer {
  let key = joinBytes(["AWS4", secretKey]);
  for (const part of scope) {
    const next = hmacSha256(key, part);
    key.fill(0);
    key = next;
  }
  return key;
}

/** Every segment of the path on the wire is encoded once more. */
function canonicalPath(path: string): string {
  return path.split("/").map(encode).join("/");
}

function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair) => {
    const [name = "", value = ""] = splitOnce(pair, "=");
    return [reencoded(name), reencoded(value)] as const;
  });
  pairs.sort(([a, x], [b, y]) => compare(a, b) || compare(x, y));
  return pairs.map((pair) => pair.join("=")).join("&");
}

/** RFC 3986: everything but the unreserved characters, in upper-case hex. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function reencoded(text: string): string {
  return encode(decodeURIComponent(text));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function splitOnce(text: string, at: string): [string, string?] {
  const index = text.indexOf(at);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}

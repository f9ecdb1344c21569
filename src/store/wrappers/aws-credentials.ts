import { Secret } from "../../secret.ts";
import { UnlockError } from "../errors.ts";
import { joinBytes } from "../join-bytes.ts";
import type { AwsCredentials } from "../sigv4.ts";
import { awsRefusal } from "./aws-refusal.ts";
import { type HttpsAnswer, httpsCall } from "./https-call.ts";
import { jsonMember } from "./json-member.ts";
import { readSideFile, readTokenFile } from "./side-file.ts";

export interface WebIdentity {
  /** AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE; null when they are not set */
  readonly roleArn: string | null;
  readonly tokenFile: string | null;
  readonly sessionName: string;
  /** null for the region's public one */
  readonly endpoint: string | null;
}

/** Where AWS credentials come from. Files are read, and services asked, each time the vault is opened. */
export type AwsCredentialSource =
  /** Two lines, access key id and secret key, or the profile of an AWS credentials file. */
  | { readonly file: string; readonly profile: string }
  /** STS AssumeRoleWithWebIdentity with a token that Kubernetes or a CI system keeps fresh. */
  | { readonly webIdentity: WebIdentity }
  /** The container agent of ECS or EKS Pod Identity. */
  | { readonly container: { url: string; tokenFile: string | null } }
  /** EC2's instance metadata service, version 2. */
  | { readonly instance: { url: string } };

interface CallPlace {
  readonly region: string;
  readonly ca: string | null;
  readonly signal: AbortSignal;
}

const MAX_FILE_BYTES = 64 * 1024;
/** Seconds that an IMDSv2 token is asked for: one start. */
const METADATA_TOKEN_SECONDS = "60";

/** The caller wipes both secrets. @throws UnlockError missing, permissions, malformed, denied, unreachable or lying */
export async function readAwsCredentials(source: AwsCredentialSource, place: CallPlace): Promise<AwsCredentials> {
  if ("file" in source) return fromFile(source.file, source.profile);
  if ("webIdentity" in source) return await fromWebIdentity(source.webIdentity, place);
  if ("container" in source) return await fromContainer(source.container, place);
  return await fromInstance(parsedUrl(source.instance.url), place);
}

function fromFile(path: string, profile: string): AwsCredentials {
  const nextStep = "it has to hold the access key id and the secret key";
  const content = readSideFile(path, { maxBytes: MAX_FILE_BYTES, nextStep });
  try {
    return content.use((bytes) => {
      const lines = linesOf(bytes);
      const isProfiles = lines.some((line) => line[0] === 0x5b);
      const [id, key, token, ...more] = isProfiles ? profileOf(lines, profile) : lines;
      if (id === undefined || key === undefined || more.length > 0 || !isAccessKeyId(id)) {
        const where = isProfiles ? `has no complete profile ${profile}` : "does not hold AWS credentials";
        const forms = `one per line, or as [${profile}] of an AWS credentials file`;
        throw new UnlockError("malformed", `${path} ${where}: ${nextStep}, ${forms}`);
      }
      const sessionToken = token === undefined ? null : Secret.copyOf(token);
      if (sessionToken === null || isFieldText(sessionToken)) {
        return { accessKeyId: id.toString("latin1"), secretKey: Secret.copyOf(key), sessionToken };
      }
      throw new UnlockError("malformed", `${path} has a session token with spaces in it; copy it again`);
    });
  } finally {
    content.wipe();
  }
}

/** Lines with something on them, without the space around them. They are windows on `bytes`. */
function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    const line = trimmed(bytes.subarray(start, end));
    if (line.length > 0 && line[0] !== 0x23 && line[0] !== 0x3b) lines.push(line);
    start = end + 1;
  }
  return lines;
}

function trimmed(bytes: Buffer): Buffer {
  let [start, end] = [0, bytes.length];
  while (start < end && (bytes[start] ?? 0) <= 0x20) start++;
  while (end > start && (bytes[end - 1] ?? 0) <= 0x20) end--;
  return bytes.subarray(start, end);
}

const PROFILE_MEMBERS = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];

/** Id, secret key and, when there is one, session token. */
function profileOf(lines: readonly Buffer[], profile: string): Buffer[] {
  const heads = [`[${profile}]`, `[profile ${profile}]`].map((text) => Buffer.from(text));
  const first = lines.findIndex((line) => heads.some((head) => line.equals(head)));
  if (first < 0) return [];
  const rest = lines.slice(first + 1);
  const next = rest.findIndex((line) => line[0] === 0x5b);
  const own = next < 0 ? rest : rest.slice(0, next);
  const [id, key, token] = PROFILE_MEMBERS.map((name) => settingOf(own, name));
  if (id === undefined || key === undefined) return [];
  return token === undefined ? [id, key] : [id, key, token];
}

function settingOf(lines: readonly Buffer[], name: string): Buffer | undefined {
  for (const line of lines) {
    const equals = line.indexOf(0x3d);
    if (equals > 0 && trimmed(line.subarray(0, equals)).equals(Buffer.from(name)))
      return trimmed(line.subarray(equals + 1));
  }
  return undefined;
}

/** It is told before it becomes a string: in a file with its lines swapped it would be the secret key. */
function isAccessKeyId(bytes: Buffer): boolean {
  const isPlain = (byte: number): boolean => (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a);
  return bytes.length >= 16 && bytes.length <= 128 && bytes.every(isPlain);
}

async function fromWebIdentity(identity: WebIdentity, place: CallPlace): Promise<AwsCredentials> {
  const { roleArn, tokenFile } = identity;
  if (roleArn === null || tokenFile === null) {
    const text =
      "AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE are not set; give this service an identity, or name a file";
    throw new UnlockError("missing", text);
  }
  const url = new URL(identity.endpoint ?? awsEndpoint("sts", place.region));
  const token = readTokenFile(tokenFile, "a web identity token");
  const role = encodeURIComponent(roleArn);
  const session = encodeURIComponent(identity.sessionName);
  const before = `Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=${role}&RoleSessionName=${session}&WebIdentityToken=`;
  const body = token.use((bytes) => joinBytes([before, formEncoded(bytes)]));
  token.wipe();
  const fields = [["content-type", "application/x-www-form-urlencoded"]] as const;
  const answer = await httpsCall({ method: "POST", url, fields, body, ca: place.ca }, place.signal).finally(() =>
    body.fill(0),
  );
  try {
    if (answer.status !== 200) {
      const type = element(answer.body, "Code")?.toString("latin1") ?? null;
      throw awsRefusal(url.host, { action: `the role ${roleArn}`, status: answer.status, type });
    }
    const member = (name: string): Secret | null => {
      const found = element(answer.body, name);
      return found === null ? null : Secret.copyOf(found);
    };
    return complete(url, [member("AccessKeyId"), member("SecretAccessKey"), member("SessionToken")]);
  } finally {
    answer.body.fill(0);
  }
}

/** Percent-encoding for a form, in bytes: a JWT needs none, other tokens may. */
function formEncoded(bytes: Buffer): Buffer {
  const out: number[] = [];
  for (const byte of bytes) {
    const plain = /[A-Za-z0-9._~-]/.test(String.fromCharCode(byte));
    if (plain) out.push(byte);
    else out.push(0x25, ...Buffer.from(byte.toString(16).toUpperCase().padStart(2, "0")));
  }
  const encoded = joinBytes([Uint8Array.from(out)]);
  out.fill(0);
  return encoded;
}

/** The text of the first XML element `name` that has no child elements: a window on `xml`. */
function element(xml: Buffer, name: string): Buffer | null {
  const open = Buffer.from(`<${name}>`);
  const start = xml.indexOf(open);
  const end = start < 0 ? -1 : xml.indexOf(`</${name}>`, start);
  return end < 0 ? null : trimmed(xml.subarray(start + open.length, end));
}

async function fromContainer(
  container: { url: string; tokenFile: string | null },
  place: CallPlace,
): Promise<AwsCredentials> {
  const url = parsedUrl(container.url);
  const token = container.tokenFile === null ? null : readTokenFile(container.tokenFile, "the container's token");
  const fields = token === null ? [] : [["authorization", "{token}"] as const];
  const secrets = new Map(token === null ? [] : [["token", token] as const]);
  try {
    return fromJson(url, await httpsCall({ method: "GET", url, fields, secrets, ca: place.ca }, place.signal));
  } finally {
    token?.wipe();
  }
}

async function fromInstance(base: URL, { signal }: CallPlace): Promise<AwsCredentials> {
  const at = (path: string): URL => new URL(`/latest/${path}`, base);
  const lifetime = [["x-aws-ec2-metadata-token-ttl-seconds", METADATA_TOKEN_SECONDS]] as const;
  const tokenUrl = at("api/token");
  const made = await httpsCall({ method: "PUT", url: tokenUrl, fields: lifetime, ca: null }, signal);
  if (made.status !== 200 || made.body.length === 0) throw noCredentials(base, made.status);
  const token = Secret.copyOf(made.body);
  made.body.fill(0);
  const get = async (path: string): Promise<HttpsAnswer> => {
    const fields = [["x-aws-ec2-metadata-token", "{token}"]] as const;
    return await httpsCall(
      { method: "GET", url: at(path), fields, secrets: new Map([["token", token]]), ca: null },
      signal,
    );
  };
  try {
    const roles = "meta-data/iam/security-credentials/";
    const role = await get(roles);
    const name = role.body.toString("latin1").trim().split("\n")[0] ?? "";
    if (role.status !== 200 || name === "") throw noCredentials(base, role.status);
    return fromJson(base, await get(`${roles}${encodeURIComponent(name)}`));
  } finally {
    token.wipe();
  }
}

function parsedUrl(text: string): URL {
  const url = URL.parse(text);
  if (url !== null) return url;
  throw new UnlockError("malformed", "the address of the credentials in the environment is no URL; correct it");
}

/** The public endpoint of a service in a region (AWS General Reference, "Service endpoints"). */
export function awsEndpoint(service: string, region: string): string {
  return `https://${service}.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}

function fromJson(url: URL, { status, body }: HttpsAnswer): AwsCredentials {
  try {
    if (status !== 200) throw noCredentials(url, status);
    return complete(url, [
      jsonMember(body, ["AccessKeyId"]),
      jsonMember(body, ["SecretAccessKey"]),
      jsonMember(body, ["Token"]),
    ]);
  } finally {
    body.fill(0);
  }
}

function complete(url: URL, [id, secretKey, sessionToken]: readonly (Secret | null)[]): AwsCredentials {
  if (id?.use(isAccessKeyId) && secretKey && sessionToken && isFieldText(sessionToken)) {
    return { accessKeyId: id.use((bytes) => bytes.toString("latin1")), secretKey, sessionToken };
  }
  secretKey?.wipe();
  sessionToken?.wipe();
  throw new UnlockError("lying", `${url.host} answered with no complete credentials; is it the right endpoint?`);
}

/** A line break in a token would end its header field. */
function isFieldText(token: Secret): boolean {
  return token.use((bytes) => bytes.length > 0 && bytes.every((byte) => byte > 0x20 && byte < 0x7f));
}

function noCredentials(url: URL, status: number): UnlockError {
  const text = `${url.host} has no credentials for this machine (HTTP ${status}); give it a role that may use the key`;
  return new UnlockError("denied", text);
}

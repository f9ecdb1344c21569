import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from "node:crypto";
import type { TestContext } from "node:test";
import type { AwsCredentialSource } from "../../src/store/wrappers/aws-credentials.ts";
import type { AwsKmsUnlocker } from "../../src/store/wrappers/aws-kms.ts";
import { type ReceivedRequest, type StandIn, type StandInAnswer, startStandIn } from "./stand-in.ts";
import { json } from "./transit-server.ts";

/*
 * KMS and STS at one address, as AWS publishes them (KMS API reference: Encrypt, Decrypt; STS API reference:
 * AssumeRoleWithWebIdentity; IAM User Guide: Signature Version 4, whose check is written here a second time on purpose).
 */
export const AWS_HOST = "localhost";
export const REGION = "eu-west-1";
export const KEY_ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
export const ROLE_ARN = "arn:aws:iam::111122223333:role/sidekey";
export const WEB_TOKEN = "eyJhbGciOi.canary-web.jwt";
export const STATIC_KEY = {
  id: "AKIAIOSFODNN7EXAMPLE",
  secret: "canary/K7MDENG+bPxRfiCYEXAMPLEKEY",
  token: null,
} as const;

export interface AwsKey {
  readonly id: string;
  readonly secret: string;
  readonly token: string | null;
}

export interface AwsServer extends StandIn {
  readonly endpoint: string;
  /** Makes temporary credentials that KMS accepts from now on. */
  issue(): AwsKey;
  /** The temporary ones issued so far have expired. */
  expire(): void;
  answerWith(answer: (request: ReceivedRequest) => StandInAnswer | undefined | "hang"): void;
  unlocker(credentials: AwsCredentialSource, extra?: Partial<AwsKmsUnlocker>): AwsKmsUnlocker;
}

interface KmsBody {
  readonly KeyId: string;
  readonly Plaintext?: string;
  readonly CiphertextBlob?: string;
  readonly EncryptionContext: Record<string, string>;
}

export async function startAws(t: TestContext): Promise<AwsServer> {
  const master = randomBytes(32);
  const keys = new Map<string, AwsKey & { expired?: boolean }>([[STATIC_KEY.id, STATIC_KEY]]);
  let override: ((request: ReceivedRequest) => StandInAnswer | undefined | "hang") | null = null;
  const issue = (): AwsKey => {
    const id = `ASIA${randomBytes(8).toString("hex").toUpperCase()}`;
    const key = {
      id,
      secret: `canary-${randomBytes(15).toString("base64")}`,
      token: randomBytes(120).toString("base64"),
    };
    keys.set(id, key);
    return key;
  };
  const standIn = await startStandIn(t, {
    hostnames: [AWS_HOST],
    handler: (request) => {
      const own = override?.(request);
      if (own === "hang") return undefined;
      if (own !== undefined) return own;
      if (request.body.toString().startsWith("Action=")) return assumeRole(request, issue);
      const problem = signatureProblem(request, keys);
      return problem === null ? kms(request, master) : refused(problem);
    },
  });
  const endpoint = `https://${AWS_HOST}:${standIn.port}`;
  return {
    ...standIn,
    endpoint,
    issue,
    expire: () => {
      for (const [id, key] of keys) if (key.token !== null) keys.set(id, { ...key, expired: true });
    },
    answerWith: (answer) => {
      override = answer;
    },
    unlocker: (credentials, extra = {}) => {
      const common = { key: KEY_ARN, region: REGION, endpoint, ca: standIn.caPem } as const;
      return { kind: "aws-kms", ...common, credentials, ...extra };
    },
  };
}

export function refused(type: string, status = 400): StandInAnswer {
  return json(status, { __type: type, message: "canary" }, "application/x-amz-json-1.1");
}

/** Null when the signature covers what must be covered and is right. */
function signatureProblem(
  request: ReceivedRequest,
  keys: ReadonlyMap<string, AwsKey & { expired?: boolean }>,
): string | null {
  const one = (name: string): string => request.values(name).join(",");
  const parts =
    /^AWS4-HMAC-SHA256 Credential=(\w+)\/(\d{8}\/[\w-]+\/kms\/aws4_request), SignedHeaders=([\w;-]+), Signature=([0-9a-f]{64})$/.exec(
      one("authorization"),
    );
  if (parts === null) return "IncompleteSignatureException";
  const [, id = "", scope = "", signed = "", signature = ""] = parts;
  const key = keys.get(id);
  if (key === undefined) return "UnrecognizedClientException";
  if (key.expired === true) return "ExpiredTokenException";
  const names = signed.split(";");
  const mandatory = ["host", "x-amz-date", "x-amz-target", ...(key.token === null ? [] : ["x-amz-security-token"])];
  if (!mandatory.every((name) => names.includes(name))) return "InvalidSignatureException";
  if (key.token !== null && one("x-amz-security-token") !== key.token) return "UnrecognizedClientException";
  const sha = (text: string | Buffer): string => createHash("sha256").update(text).digest("hex");
  const fields = names.map((name) => `${name}:${one(name)}\n`).join("");
  const canonical = [request.method, request.target, "", fields, signed, sha(request.body)].join("\n");
  const text = ["AWS4-HMAC-SHA256", one("x-amz-date"), scope, sha(canonical)].join("\n");
  let derived: Buffer | string = `AWS4${key.secret}`;
  for (const part of scope.split("/")) derived = createHmac("sha256", derived).update(part).digest();
  return createHmac("sha256", derived).update(text).digest("hex") === signature ? null : "InvalidSignatureException";
}

function kms(request: ReceivedRequest, master: Buffer): StandInAnswer {
  const body = JSON.parse(request.body.toString()) as KmsBody;
  if (body.KeyId !== KEY_ARN) return refused("NotFoundException");
  const aad = Buffer.from(JSON.stringify(Object.entries(body.EncryptionContext).sort()));
  const type = "application/x-amz-json-1.1";
  if (request.values("x-amz-target")[0] === "TrentService.Encrypt") {
    const nonce = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", master, nonce).setAAD(aad);
    const plain = Buffer.from(body.Plaintext ?? "", "base64");
    const blob = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    const answer = {
      CiphertextBlob: blob.toString("base64"),
      EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
      KeyId: KEY_ARN,
    };
    return json(200, answer, type);
  }
  const blob = Buffer.from(body.CiphertextBlob ?? "", "base64");
  try {
    const decipher = createDecipheriv("aes-256-gcm", master, blob.subarray(0, 12)).setAAD(aad);
    decipher.setAuthTag(blob.subarray(-16));
    const plain = Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]);
    return json(
      200,
      { KeyId: KEY_ARN, Plaintext: plain.toString("base64"), EncryptionAlgorithm: "SYMMETRIC_DEFAULT" },
      type,
    );
  } catch {
    return refused("InvalidCiphertextException");
  }
}

function assumeRole(request: ReceivedRequest, issue: () => AwsKey): StandInAnswer {
  const form = new URLSearchParams(request.body.toString());
  const headers = { "content-type": "text/xml" };
  if (form.get("WebIdentityToken") !== WEB_TOKEN || form.get("RoleArn") !== ROLE_ARN) {
    const error = "<Error><Type>Sender</Type><Code>ExpiredTokenException</Code><Message>canary</Message></Error>";
    return { status: 400, headers, body: `<ErrorResponse>${error}<RequestId>1</RequestId></ErrorResponse>` };
  }
  const { id, secret, token } = issue();
  const inner = `<SessionToken>${token}</SessionToken><SecretAccessKey>${secret}</SecretAccessKey><Expiration>2030-01-01T00:00:00Z</Expiration><AccessKeyId>${id}</AccessKeyId>`;
  const result = `<AssumeRoleWithWebIdentityResult>\n<Credentials>${inner}</Credentials></AssumeRoleWithWebIdentityResult>`;
  return {
    status: 200,
    headers,
    body: `<AssumeRoleWithWebIdentityResponse>${result}</AssumeRoleWithWebIdentityResponse>`,
  };
}

/** EC2's metadata service (IMDSv2) and the containers' agent, on plain HTTP as they are. */
export async function startMetadata(
  t: TestContext,
  key: AwsKey,
  authorization: string | null = null,
): Promise<StandIn & { url: string }> {
  const token = randomBytes(20).toString("base64");
  const credentials = {
    Code: "Success",
    Type: "AWS-HMAC",
    AccessKeyId: key.id,
    SecretAccessKey: key.secret,
    Token: key.token,
    Expiration: "2030-01-01T00:00:00Z",
  };
  const standIn = await startStandIn(t, {
    hostnames: ["127.0.0.1"],
    tls: false,
    handler: (request) => {
      const call = `${request.method} ${request.target}`;
      if (call === "PUT /latest/api/token" && request.values("x-aws-ec2-metadata-token-ttl-seconds").length === 1) {
        return { body: token };
      }
      if (call === "GET /v1/credentials" && request.values("authorization").join() === (authorization ?? "")) {
        return json(200, credentials);
      }
      if (request.values("x-aws-ec2-metadata-token").join() !== token) return { status: 401 };
      if (call === "GET /latest/meta-data/iam/security-credentials/") return { body: "sidekey-role" };
      if (call === "GET /latest/meta-data/iam/security-credentials/sidekey-role") return json(200, credentials);
      return { status: 404 };
    },
  });
  return { ...standIn, url: `http://127.0.0.1:${standIn.port}` };
}

import type { Secret } from "../../secret.ts";
import { canonicalJson } from "../canonical.ts";
import { base64Encode } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import { joinBytes } from "../join-bytes.ts";
import { type AwsCredentials, SESSION_TOKEN_FIELD, signAwsRequest } from "../sigv4.ts";
import { type AwsCredentialSource, awsEndpoint, readAwsCredentials } from "./aws-credentials.ts";
import { awsRefusal } from "./aws-refusal.ts";
import { type HttpsAnswer, httpsCall } from "./https-call.ts";
import { jsonMember, jsonText } from "./json-member.ts";
import type { OpenContext, Opener, Place, Timed } from "./opener.ts";
import { decodedKey, remoteOpener } from "./remote-key.ts";

/** A symmetric key of AWS KMS (API reference: Encrypt, Decrypt; protocol JSON 1.1, Signature Version 4). */
export interface AwsKmsUnlocker extends Timed {
  readonly kind: "aws-kms";
  /** id, ARN or alias */
  readonly key: string;
  readonly region: string;
  /** null for the region's public one */
  readonly endpoint: string | null;
  /** PEM of the endpoints' authority; null for the public ones */
  readonly ca: string | null;
  readonly credentials: AwsCredentialSource;
}

/** Gets the credentials. @throws UnlockError unreachable, denied, lying, missing, permissions or malformed */
export async function openAwsKms(unlocker: AwsKmsUnlocker, context: OpenContext): Promise<Opener> {
  const { key, region, ca } = unlocker;
  const url = new URL(unlocker.endpoint ?? awsEndpoint("kms", region));
  const name = url.host;
  const credentials = await readAwsCredentials(unlocker.credentials, { region, ca, signal: context.signal });
  const call = async (action: "Encrypt" | "Decrypt", members: readonly (string | Buffer)[]): Promise<HttpsAnswer> => {
    const body = joinBytes(members);
    try {
      const answer = await send({ url, region, ca, action, body }, credentials, context);
      if (answer.status === 200) return answer;
      const type = jsonText(answer.body, ["__type"]);
      answer.body.fill(0);
      throw awsRefusal(name, { action: `${action} with the key ${key}`, status: answer.status, type });
    } finally {
      body.fill(0);
    }
  };
  const cipher = {
    name,
    encrypt: async (plain: Secret, place: Place) => {
      const text = plain.use(base64Encode);
      const bound = `,"KeyId":${JSON.stringify(key)},"EncryptionContext":${encryptionContext(place)}}`;
      const answer = await call("Encrypt", ['{"Plaintext":"', text, '"', bound]).finally(() => text.fill(0));
      const ciphertext = jsonText(answer.body, ["CiphertextBlob"]) ?? "";
      answer.body.fill(0);
      if (/^[A-Za-z0-9+/]+={0,2}$/.test(ciphertext)) return ciphertext;
      throw new UnlockError("lying", `${name} answered something that is not KMS's format; is it the right endpoint?`);
    },
    decrypt: async (ciphertext: string, place: Place) => {
      const body = `{"CiphertextBlob":${JSON.stringify(ciphertext)},"KeyId":${JSON.stringify(key)},"EncryptionContext":${encryptionContext(place)}}`;
      const answer = await call("Decrypt", [body]);
      const text = jsonMember(answer.body, ["Plaintext"]);
      answer.body.fill(0);
      return decodedKey(text, name);
    },
  };
  return remoteOpener(cipher, unlocker.kind, [credentials.secretKey, credentials.sessionToken]);
}

/** Must be the same, to the letter, when it is decrypted; CloudTrail shows it. */
function encryptionContext({ vault, wrapper }: Place): string {
  return canonicalJson({ purpose: "sidekey root key", vault, wrapper });
}

interface KmsRequest {
  readonly url: URL;
  readonly region: string;
  readonly ca: string | null;
  readonly action: string;
  readonly body: Buffer;
}

async function send(request: KmsRequest, credentials: AwsCredentials, context: OpenContext): Promise<HttpsAnswer> {
  const { url, region, ca, action, body } = request;
  const fields: (readonly [string, string])[] = [
    ["content-type", "application/x-amz-json-1.1"],
    ["x-amz-target", `TrentService.${action}`],
  ];
  const wire = { method: "POST", host: url.host, path: url.pathname, fields, body } as const;
  const signature = signAwsRequest(wire, credentials, { service: "kms", region, nowMs: context.now() });
  const { sessionToken } = credentials;
  const token = sessionToken === null ? [] : [[SESSION_TOKEN_FIELD, "{token}"] as const];
  const secrets = new Map(sessionToken === null ? [] : [["token", sessionToken] as const]);
  const all = [...fields, ...signature, ...token];
  return await httpsCall({ method: "POST", url, fields: all, secrets, body, ca }, context.signal);
}

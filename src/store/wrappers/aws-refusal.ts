import { UnlockError, type UnlockProblemCode } from "../errors.ts";

/** What the error types of KMS and STS mean for an unlocker (their API references, "Common Errors"). */
const MEANINGS: ReadonlyMap<string, readonly [UnlockProblemCode, string]> = new Map([
  ["InvalidCiphertextException", ["wrong_key", "it is the wrapper of another vault, or it was changed"]],
  ["IncorrectKeyException", ["wrong_key", "the wrapper was made with another key; name that one"]],
  ["AccessDeniedException", ["denied", "the credentials may not use this key; check its policy"]],
  ["AccessDenied", ["denied", "the role may not be assumed; check its trust policy"]],
  ["ExpiredTokenException", ["denied", "the token has expired"]],
  ["ExpiredToken", ["denied", "the token has expired"]],
  ["InvalidIdentityToken", ["denied", "the token is not accepted; check the role's identity provider"]],
  ["InvalidClientTokenId", ["denied", "there is no such access key"]],
  ["UnrecognizedClientException", ["denied", "there is no such access key"]],
  ["InvalidSignatureException", ["denied", "the secret key is wrong, or this machine's clock is"]],
  ["SignatureDoesNotMatch", ["denied", "the secret key is wrong, or this machine's clock is"]],
  ["NotFoundException", ["unavailable", "there is no such key in that region"]],
  ["DisabledException", ["unavailable", "the key is disabled; enable it"]],
  ["KMSInvalidStateException", ["unavailable", "the key cannot be used now; is it about to be deleted?"]],
  ["ThrottlingException", ["unreachable", "too many requests; try again"]],
  ["Throttling", ["unreachable", "too many requests; try again"]],
]);

/**
 * The error for an answer that is not 200. Only the type is repeated: AWS's text may quote what it was sent.
 * @param refused.type `__type` or `Code`, with or without a namespace; null when there is none
 */
export function awsRefusal(
  name: string,
  refused: { action: string; status: number; type: string | null },
): UnlockError {
  const type = /(?:^|[#.])([A-Za-z]{1,60})$/.exec(refused.type ?? "")?.[1] ?? "no reason given";
  const [code, meaning] = MEANINGS.get(type) ?? [
    refused.status >= 500 ? "unreachable" : "unavailable",
    refused.status >= 500 ? "the service has a problem; try again" : "see that service's documentation",
  ];
  return new UnlockError(code, `${name} refused ${refused.action} (${type}, HTTP ${refused.status}): ${meaning}`);
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { Secret } from "../../src/secret.ts";
import { type AwsCredentials, type AwsRequest, signAwsRequest } from "../../src/store/sigv4.ts";

/*
 * AWS's published test suite for Signature Version 4 (docs.aws.amazon.com, "Signature Version 4 test suite"): one key, one moment,
 * the region us-east-1 and a service called "service". The cases here are those whose path is plain.
 */
const SCOPE = { service: "service", region: "us-east-1", nowMs: Date.UTC(2015, 7, 30, 12, 36, 0) };
const TOKEN =
  "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

function credentials(token: string | null = null): AwsCredentials {
  return {
    accessKeyId: "AKIDEXAMPLE",
    secretKey: Secret.copyOf(Buffer.from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")),
    sessionToken: token === null ? null : Secret.copyOf(Buffer.from(token)),
  };
}

function request(extra: Partial<AwsRequest> = {}): AwsRequest {
  return { method: "GET", host: "example.amazonaws.com", path: "/", fields: [], body: Buffer.alloc(0), ...extra };
}

const header = (...values: string[]) => ({ fields: values.map((value) => ["My-Header1", value] as const) });
const FORM = { fields: [["Content-Type", "application/x-www-form-urlencoded"]] as const };

interface Case {
  readonly name: string;
  readonly request: AwsRequest;
  readonly token?: string;
  readonly signed: string;
  readonly signature: string;
}

const CASES: readonly Case[] = [
  {
    name: "get-vanilla",
    request: request(),
    signed: "host;x-amz-date",
    signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
  },
  {
    name: "post-vanilla",
    request: request({ method: "POST" }),
    signed: "host;x-amz-date",
    signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
  },
  {
    name: "post-vanilla-empty-query-value",
    request: request({ method: "POST", path: "/?Param1=value1" }),
    signed: "host;x-amz-date",
    signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
  },
  {
    name: "get-vanilla-query-order-key-case",
    request: request({ path: "/?Param2=value2&Param1=value1" }),
    signed: "host;x-amz-date",
    signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
  },
  {
    name: "get-vanilla-query-order-value",
    request: request({ path: "/?Param1=value2&Param1=Value1" }),
    signed: "host;x-amz-date",
    signature: "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
  },
  {
    name: "get-header-key-duplicate",
    request: request(header("value2", "value2", "value1")),
    signed: "host;my-header1;x-amz-date",
    signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
  },
  {
    name: "get-header-value-order",
    request: request(header("value4", "value1", "value3", "value2")),
    signed: "host;my-header1;x-amz-date",
    signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
  },
  {
    name: "get-header-value-trim",
    request: request({ fields: [...header(" value1").fields, ["My-Header2", ' "a   b   c"']] }),
    signed: "host;my-header1;my-header2;x-amz-date",
    signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
  },
  {
    name: "post-header-value-case",
    request: request({ method: "POST", ...header("VALUE1") }),
    signed: "host;my-header1;x-amz-date",
    signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
  },
  {
    name: "post-x-www-form-urlencoded",
    request: request({ method: "POST", ...FORM, body: Buffer.from("Param1=value1") }),
    signed: "content-type;host;x-amz-date",
    signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
  },
  {
    name: "post-sts-header-before",
    request: request({ method: "POST" }),
    token: TOKEN,
    signed: "host;x-amz-date;x-amz-security-token",
    signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
  },
];

for (const one of CASES) {
  test(`a request is signed as AWS's test suite has it: ${one.name}`, () => {
    const scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
    assert.deepEqual(signAwsRequest(one.request, credentials(one.token), SCOPE), [
      ["x-amz-date", "20150830T123600Z"],
      [
        "authorization",
        `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=${one.signed}, Signature=${one.signature}`,
      ],
    ]);
  });
}

test("a path that is percent-encoded on the wire is encoded once more for the signature", () => {
  const [, [, encoded] = []] = signAwsRequest(request({ path: "/a%20b" }), credentials(), SCOPE);
  const [, [, plain] = []] = signAwsRequest(request({ path: "/a b" }), credentials(), SCOPE);
  assert.notEqual(encoded, plain);
});

test("a wiped key signs nothing", () => {
  const wiped = credentials();
  wiped.secretKey.wipe();
  assert.throws(() => signAwsRequest(request(), wiped, SCOPE), /wiped secret/);
});

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { UnlockError, type UnlockProblemCode, VaultTamperedError } from "../../../src/store/errors.ts";
import type { AwsCredentialSource } from "../../../src/store/wrappers/aws-credentials.ts";
import type { AwsKmsUnlocker } from "../../../src/store/wrappers/aws-kms.ts";
import {
  type AwsServer,
  KEY_ARN,
  REGION,
  ROLE_ARN,
  refused,
  STATIC_KEY,
  startAws,
  startMetadata,
  WEB_TOKEN,
} from "../../support/aws-server.ts";
import type { StandInAnswer } from "../../support/stand-in.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { json } from "../../support/transit-server.ts";
import { editDatabase, newVault, sealedBecause, type VaultFixture } from "../../support/vault-fixture.ts";

function fileWith(t: TestContext, content: string): string {
  const path = join(tempDir(t), "credentials");
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

function twoLines(t: TestContext): AwsCredentialSource {
  return { file: fileWith(t, `${STATIC_KEY.id}\n${STATIC_KEY.secret}\n`), profile: "default" };
}

async function opened(t: TestContext): Promise<VaultFixture & { server: AwsServer; kms: AwsKmsUnlocker }> {
  const [fixture, server] = [await newVault(t), await startAws(t)];
  const kms = server.unlocker(twoLines(t));
  await fixture.vault.addWrapper(kms, [fixture.unlocker], "ana");
  return { ...fixture, server, kms };
}

async function refusal(fixture: VaultFixture, kms: AwsKmsUnlocker, code: UnlockProblemCode, words: RegExp) {
  await assert.rejects(fixture.reopen().unseal([kms]), (error: Error) => {
    assert.ok(sealedBecause(code)(error));
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /canary/);
    return true;
  });
}

describe("aws-kms wrapper", () => {
  it("opens the vault with credentials from every source", async (t) => {
    const fixture = await opened(t);
    const { server } = fixture;
    const { id, secret } = STATIC_KEY;
    const ini = `[other]\naws_access_key_id=NO\n\n# mine\n[mine]\naws_access_key_id = ${id}\nregion = x\naws_secret_access_key = ${secret}\n`;
    const temporary = server.issue();
    const profile = `[default]\naws_secret_access_key=${temporary.secret}\naws_session_token=${temporary.token}\naws_access_key_id=${temporary.id}\n`;
    const metadata = await startMetadata(t, server.issue());
    const agent = await startMetadata(t, server.issue(), "canary-container-token");
    const web = {
      roleArn: ROLE_ARN,
      tokenFile: fileWith(t, WEB_TOKEN),
      sessionName: "sidekey",
      endpoint: server.endpoint,
    };
    const sources: AwsCredentialSource[] = [
      { file: fileWith(t, ini), profile: "mine" },
      { file: fileWith(t, profile), profile: "default" },
      { webIdentity: web },
      { instance: { url: metadata.url } },
      { container: { url: `${agent.url}/v1/credentials`, tokenFile: fileWith(t, "canary-container-token") } },
    ];
    for (const source of sources) {
      const { by } = await fixture.reopen().unseal([server.unlocker(source)]);
      assert.equal(by, `aws-kms ${KEY_ARN} in ${REGION}`);
    }
    assert.deepEqual([...server.problems, ...metadata.problems, ...agent.problems], []);
  });

  it("binds its key to vault, wrapper and purpose by the encryption context", async (t) => {
    const { vault, server } = await opened(t);
    const [wrapper] = vault.listWrappers().filter(({ kind }) => kind === "aws-kms");
    const context = { purpose: "sidekey root key", vault: vault.id, wrapper: wrapper?.id };
    for (const request of server.requests) {
      const body = JSON.parse(request.body.toString()) as { EncryptionContext: object };
      assert.deepEqual(body.EncryptionContext, context);
      assert.deepEqual(request.values("content-type"), ["application/x-amz-json-1.1"]);
    }
    assert.deepEqual(
      server.requests.map((request) => request.values("x-amz-target").join()),
      ["TrentService.Encrypt", "TrentService.Decrypt"],
    );
  });

  it("does not open a stanza that was moved to another wrapper id", async (t) => {
    const fixture = await opened(t);
    fixture.vault.close();
    editDatabase(fixture.directory, (db) => db.exec("UPDATE wrappers SET id = 'ffff' WHERE kind = 'aws-kms'"));
    await refusal(fixture, fixture.kms, "wrong_key", /InvalidCiphertextException, HTTP 400.*another vault/);
  });

  it("says what is wrong when KMS refuses, is throttled or lies", async (t) => {
    const fixture = await opened(t);
    const { server, kms } = fixture;
    const lie = { KeyId: KEY_ARN, Plaintext: Buffer.alloc(32).toString("base64") };
    const answers: [StandInAnswer, UnlockProblemCode, RegExp][] = [
      [refused("ThrottlingException"), "unreachable", /ThrottlingException.*try again/],
      [refused("com.amazonaws.kms#DisabledException"), "unavailable", /DisabledException.*enable it/],
      [refused("AccessDeniedException"), "denied", /AccessDeniedException.*check its policy/],
      [refused("KMSInternalException", 500), "unreachable", /KMSInternalException, HTTP 500/],
      [refused("canary text, not a type"), "unavailable", /no reason given, HTTP 400/],
      [json(200, lie), "lying", /another key than the one it was given/],
      [json(200, { Plaintext: 7 }), "lying", /not its documented format/],
      [{ status: 200, body: "{" }, "lying", /not its documented format/],
    ];
    for (const [answer, code, words] of answers) {
      server.answerWith(() => answer);
      await refusal(fixture, kms, code, words);
    }
    server.answerWith(() => "hang");
    await refusal(fixture, { ...kms, timeoutMs: 150 }, "timeout", /did not answer within 150 ms/);
    server.answerWith(() => undefined);
    await refusal(fixture, { ...kms, key: "alias/other" }, "unavailable", /NotFoundException.*no such key/);
    await fixture.reopen().unseal([kms]);
  });

  it("says what is wrong with the credentials", async (t) => {
    const fixture = await opened(t);
    const { server } = fixture;
    const using = (credentials: AwsCredentialSource) => server.unlocker(credentials);
    const lines = (id: string, secret: string) =>
      using({ file: fileWith(t, `${id}\n${secret}\n`), profile: "default" });
    await refusal(
      fixture,
      lines(STATIC_KEY.id, "canary-wrong"),
      "denied",
      /secret key is wrong, or this machine's clock/,
    );
    await refusal(fixture, lines("AKIAOTHER00000000000", "canary"), "denied", /no such access key/);
    await refusal(fixture, lines("canary", "canary"), "malformed", /does not hold AWS credentials/);
    const profiles = fileWith(t, "[default]\naws_access_key_id=AKIAIOSFODNN7EXAMPLE\n");
    await refusal(fixture, using({ file: profiles, profile: "default" }), "malformed", /no complete profile default/);
    await refusal(fixture, using({ file: profiles, profile: "x" }), "malformed", /no complete profile x/);
    await refusal(fixture, using({ file: "/nonexistent", profile: "x" }), "missing", /does not exist/);
    const temporary = server.issue();
    const metadata = await startMetadata(t, temporary);
    server.expire();
    await refusal(fixture, using({ instance: { url: metadata.url } }), "denied", /ExpiredTokenException.*has expired/);
    const agent = { url: `${metadata.url}/nothing`, tokenFile: null };
    await refusal(fixture, using({ container: agent }), "denied", /no credentials for this machine \(HTTP 401\)/);
    await refusal(fixture, using({ container: { ...agent, url: "nonsense" } }), "malformed", /is no URL/);
    const elsewhere = { ...agent, url: "http://metadata.example/" };
    await refusal(
      fixture,
      using({ container: elsewhere }),
      "malformed",
      /is not https; keys are fetched over TLS only/,
    );
    const web = {
      roleArn: ROLE_ARN,
      tokenFile: fileWith(t, "canary-old"),
      sessionName: "s",
      endpoint: server.endpoint,
    };
    await refusal(fixture, using({ webIdentity: web }), "denied", /the role .*ExpiredTokenException, HTTP 400/);
    await refusal(fixture, using({ webIdentity: { ...web, roleArn: null } }), "missing", /AWS_ROLE_ARN/);
  });

  it("does not add a key that it may not use for decrypting", async (t) => {
    const { vault, unlocker } = await newVault(t);
    const server = await startAws(t);
    server.answerWith((request) =>
      request.values("x-amz-target").join().endsWith("Decrypt") ? refused("AccessDeniedException") : undefined,
    );
    await assert.rejects(vault.addWrapper(server.unlocker(twoLines(t)), [unlocker], "ana"), UnlockError);
    server.answerWith(() => json(200, { CiphertextBlob: "<>" }));
    await assert.rejects(vault.addWrapper(server.unlocker(twoLines(t)), [unlocker], "ana"), /not KMS's format/);
    assert.equal(vault.listWrappers().length, 1);
  });

  it("refuses an edited stanza, whoever it opens for", async (t) => {
    const fixture = await opened(t);
    fixture.vault.close();
    editDatabase(fixture.directory, (db) => db.exec("UPDATE wrappers SET created_at = 0 WHERE kind = 'aws-kms'"));
    await assert.rejects(fixture.reopen().unseal([fixture.kms]), VaultTamperedError);
  });
});

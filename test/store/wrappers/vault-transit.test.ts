import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { UnlockProblemCode } from "../../../src/store/errors.ts";
import { UnlockError, VaultTamperedError } from "../../../src/store/errors.ts";
import type { TransitUnlocker } from "../../../src/store/wrappers/vault-transit.ts";
import type { StandInAnswer } from "../../support/stand-in.ts";
import { tempDir } from "../../support/temp-dir.ts";
import {
  JWT,
  json,
  ROLE_ID,
  SECRET_ID,
  STATIC_TOKEN,
  startTransit,
  type TransitServer,
} from "../../support/transit-server.ts";
import { editDatabase, newVault, sealedBecause, type VaultFixture } from "../../support/vault-fixture.ts";

function fileWith(t: TestContext, content: string): string {
  const path = join(tempDir(t), "secret");
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

/** A vault that the server opens with a static token, besides its key file. */
async function opened(t: TestContext): Promise<VaultFixture & { server: TransitServer; transit: TransitUnlocker }> {
  const [fixture, server] = [await newVault(t), await startTransit(t)];
  const transit = server.unlocker({ token: fileWith(t, `${STATIC_TOKEN}\n`) });
  await fixture.vault.addWrapper(transit, [fixture.unlocker], "ana");
  return { ...fixture, server, transit };
}

async function refusal(fixture: VaultFixture, transit: TransitUnlocker, code: UnlockProblemCode, words: RegExp) {
  await assert.rejects(fixture.reopen().unseal([transit]), (error: Error) => {
    assert.ok(sealedBecause(code)(error));
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /canary/);
    return true;
  });
}

describe("vault-transit wrapper", () => {
  it("opens the vault by token, AppRole and Kubernetes login, over verified TLS", async (t) => {
    const { vault, unlocker, reopen } = await newVault(t);
    const server = await startTransit(t);
    const [secretId, jwt] = [fileWith(t, SECRET_ID), fileWith(t, `${JWT}\n`)];
    const auths: TransitUnlocker["auth"][] = [
      { token: fileWith(t, STATIC_TOKEN) },
      { appRole: { roleId: ROLE_ID, secretId, mount: "approle" } },
      { kubernetes: { role: "sidekey", jwt, mount: "kubernetes" } },
    ];
    await vault.addWrapper(server.unlocker(auths[0] ?? assert.fail()), [unlocker], "ana");
    for (const auth of auths) {
      const { by } = await reopen().unseal([server.unlocker(auth)]);
      assert.equal(by, `vault-transit ${server.address} transit/sidekey`);
    }
    assert.deepEqual(server.problems, []);
  });

  it("never sends the root key, binds its key to vault and wrapper, and sends no field it was not told to", async (t) => {
    const { vault, server, transit, reopen } = await opened(t);
    await reopen().unseal([{ ...transit, namespace: "team/a" }]);
    const [first] = server.requests;
    const body = JSON.parse(first?.body.toString() ?? "") as Record<string, string>;
    const [wrapper] = vault.listWrappers().filter(({ kind }) => kind === "vault-transit");
    assert.equal(
      Buffer.from(body.associated_data ?? "", "base64").toString(),
      `{"purpose":"sidekey root key","vault":"${vault.id}","wrapper":"${wrapper?.id}"}`,
    );
    assert.equal(Buffer.from(body.plaintext ?? "", "base64").length, 32);
    assert.deepEqual(first?.values("x-vault-token"), [STATIC_TOKEN]);
    assert.deepEqual(first?.values("x-vault-namespace"), []);
    assert.deepEqual(server.requests.at(-1)?.values("x-vault-namespace"), ["team/a"]);
  });

  it("does not open a stanza that was moved to another wrapper id or another vault", async (t) => {
    const fixture = await opened(t);
    fixture.vault.close();
    editDatabase(fixture.directory, (db) => db.exec("UPDATE wrappers SET id = 'ffff' WHERE kind = 'vault-transit'"));
    await refusal(fixture, fixture.transit, "wrong_key", /HTTP 400.*not this vault's ciphertext/);
  });

  it("says what is wrong when the server refuses, and changes nothing", async (t) => {
    const fixture = await opened(t);
    const { server, transit } = fixture;
    const answers: [StandInAnswer, UnlockProblemCode, RegExp][] = [
      [json(503, { errors: ["Vault is sealed"] }), "unreachable", /HTTP 503.*sealed or in maintenance/],
      [json(404, { errors: [] }), "unavailable", /HTTP 404.*check mount and namespace/],
      [json(429, { errors: ["canary"] }), "unreachable", /HTTP 429.*try again/],
      [
        { status: 307, headers: { location: "https://elsewhere.example/v1/" } },
        "unreachable",
        /redirects are not followed/,
      ],
      [{ status: 200, body: "<html>canary</html>" }, "lying", /not its documented format/],
      [json(200, { data: {} }), "lying", /not its documented format/],
      [json(200, { data: { plaintext: "AAAA" } }), "lying", /another key than the one it was given/],
      [json(200, { data: { plaintext: Buffer.alloc(32).toString("base64") } }), "lying", /another key/],
      [{ status: 200, body: "x".repeat(70_000) }, "lying", /more than 65536 bytes/],
    ];
    for (const [answer, code, words] of answers) {
      server.answerWith(() => answer);
      await refusal(fixture, transit, code, words);
    }
    server.answerWith(() => undefined);
    server.expireTokens();
    await refusal(fixture, transit, "denied", /HTTP 403.*token has expired/);
    assert.equal(fixture.vault.verifyAudit().ok, true);
  });

  it("gives up on a server that hangs after its own deadline and tries the next way", async (t) => {
    const { server, transit, unlocker, reopen } = await opened(t);
    server.answerWith(() => "hang");
    const hasty = { ...transit, timeoutMs: 150 };
    await assert.rejects(reopen().unseal([hasty]), sealedBecause("timeout"));
    assert.match((await reopen().unseal([hasty, unlocker])).by, /^file /);
  });

  it("does not talk to a server whose certificate is wrong, or which is not there", async (t) => {
    const fixture = await opened(t);
    for (const certificate of ["wrong-name", "expired", "self-signed"] as const) {
      const impostor = await startTransit(t, { certificate });
      const { address, caPem: ca } = impostor;
      await refusal(fixture, { ...fixture.transit, address, ca }, "unreachable", /TLS certificate is not accepted/);
      assert.deepEqual(Buffer.concat(impostor.received()).length, 0);
    }
    await refusal(fixture, { ...fixture.transit, ca: null }, "unreachable", /certificate is not accepted.*`ca:`/);
    await fixture.server.close();
    await refusal(fixture, fixture.transit, "unreachable", /cannot be reached \(ECONNREFUSED\)/);
  });

  it("says which login or token file is wrong", async (t) => {
    const fixture = await opened(t);
    const { server } = fixture;
    const appRole = { roleId: ROLE_ID, secretId: fileWith(t, "canary-wrong"), mount: "approle" };
    await refusal(fixture, server.unlocker({ appRole }), "denied", /login \(HTTP 400\).*role or its secret is wrong/);
    await refusal(fixture, server.unlocker({ token: "/nonexistent/token" }), "missing", /does not exist/);
    await refusal(fixture, server.unlocker({ token: fileWith(t, "two words canary") }), "malformed", /one line/);
    await refusal(fixture, server.unlocker({ token: fileWith(t, "") }), "malformed", /does not hold a token/);
    const directory = join(tempDir(t), "dir");
    mkdirSync(directory);
    await refusal(fixture, server.unlocker({ token: directory }), "malformed", /not a regular file/);
  });

  it("refuses to add a server that gives back something else, or may not decrypt", async (t) => {
    const { vault, unlocker } = await newVault(t);
    const server = await startTransit(t);
    const transit = server.unlocker({ token: fileWith(t, STATIC_TOKEN) });
    const lies = json(200, { data: { plaintext: Buffer.alloc(32, 1).toString("base64") } });
    for (const answer of [lies, json(403, { errors: ["permission denied"] })]) {
      server.answerWith((request) => (request.target.includes("decrypt") ? answer : undefined));
      await assert.rejects(vault.addWrapper(transit, [unlocker], "ana"), UnlockError);
    }
    server.answerWith(() => json(200, { data: { ciphertext: 'vault:v1:"}' } }));
    await assert.rejects(vault.addWrapper(transit, [unlocker], "ana"), /not transit's format/);
    assert.equal(vault.listWrappers().length, 1);
  });

  it("refuses an edited stanza, whoever it opens for", async (t) => {
    const fixture = await opened(t);
    fixture.vault.close();
    const edit = "UPDATE wrappers SET created_at = created_at + 1 WHERE kind = 'vault-transit'";
    editDatabase(fixture.directory, (db) => db.exec(edit));
    await assert.rejects(fixture.reopen().unseal([fixture.transit]), VaultTamperedError);
  });
});

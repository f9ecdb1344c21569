import assert from "node:assert/strict";
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { randomBytes } from "../../../src/store/crypto.ts";
import { STATIC_KEY, startAws } from "../../support/aws-server.ts";
import { type CliPlace, initializedPlace } from "../../support/cli-process.ts";
import { STATIC_TOKEN, startTransit } from "../../support/transit-server.ts";

interface Listed {
  readonly id: string;
  readonly kind: string;
}

async function wrappers({ run }: CliPlace): Promise<Listed[]> {
  const listed = await run(["vault", "wrapper", "list", "--json"]);
  assert.equal(listed.code, 0, listed.all);
  return JSON.parse(listed.stdout) as Listed[];
}

function setUnlock({ config }: CliPlace, entries: string): void {
  const file = join(config, "daemon.yaml");
  writeFileSync(file, `${readFileSync(file, "utf8").replace(/\nunlock:.*\n/g, "\n")}\nunlock: [ ${entries} ]\n`);
}

test("a key service is added from its entry in daemon.yaml, opens the vault, and is missed when it is the only way", async (t) => {
  const place = await initializedPlace(t);
  const { run, dir, data } = place;
  const [transit, aws] = [await startTransit(t), await startAws(t)];
  writeFileSync(join(dir, "transit.pem"), transit.caPem);
  writeFileSync(join(dir, "aws.pem"), aws.caPem);
  writeFileSync(join(dir, "token"), STATIC_TOKEN, { mode: 0o600 });
  writeFileSync(join(dir, "aws"), `${STATIC_KEY.id}\n${STATIC_KEY.secret}\n`, { mode: 0o600 });
  const key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
  const transitEntry = `{ vaultTransit: { address: "${transit.address}", key: sidekey, ca: transit.pem, auth: { token: token } } }`;
  const awsEntry = `{ awsKms: { key: "${key}", region: eu-west-1, endpoint: "${aws.endpoint}", ca: aws.pem, credentials: { file: aws } } }`;

  const early = await run(["vault", "wrapper", "add", "vault-transit"]);
  assert.equal(early.code, 1, early.all);
  assert.match(early.stderr, /daemon\.yaml has no `vaultTransit:` entry/);
  setUnlock(place, `{ file: ./data/root.key }, ${transitEntry}, ${awsEntry}`);
  for (const kind of ["vault-transit", "aws-kms"]) {
    const added = await run(["vault", "wrapper", "add", kind]);
    assert.equal(added.code, 0, added.all);
    assert.doesNotMatch(added.all, /canary/);
  }
  assert.deepEqual((await wrappers(place)).map(({ kind }) => kind).sort(), ["aws-kms", "file", "vault-transit"]);

  const [file] = (await wrappers(place)).filter(({ kind }) => kind === "file");
  const removed = await run(["vault", "wrapper", "remove", file?.id ?? "", "--yes"]);
  assert.equal(removed.code, 0, removed.all);
  assert.match(
    removed.stderr,
    /warning: only remote wrappers \((?:aws-kms|vault-transit), (?:aws-kms|vault-transit)\) can open this vault/,
  );
  rmSync(join(data, "root.key"));
  const status = JSON.parse((await run(["vault", "status", "--json"])).stdout) as { by: string };
  assert.match(status.by, /^vault-transit https:\/\/localhost/);
  // The first is down: the second one opens.
  await transit.close();
  const second = JSON.parse((await run(["vault", "status", "--json"])).stdout) as { by: string };
  assert.match(second.by, /^aws-kms arn/);
  await aws.close();
  const sealed = await run(["credential", "list"]);
  assert.equal(sealed.code, 3, sealed.all);
  assert.match(sealed.stderr, /stays sealed: .*has no file wrapper.*ECONNREFUSED.*ECONNREFUSED/s);
});

test("exec, file and systemd wrappers are added by name, and a program that fails changes nothing", async (t) => {
  const place = await initializedPlace(t);
  const { run, dir } = place;
  const [key, credential] = [join(dir, "key"), join(dir, "sidekey-root")];
  writeFileSync(key, randomBytes(32));
  writeFileSync(credential, randomBytes(32), { mode: 0o400 });
  const exec = await run(["vault", "wrapper", "add", "exec", "--", "/bin/cat", key]);
  assert.equal(exec.code, 0, exec.all);
  assert.match(exec.stderr, /put `\{ exec: \["\/bin\/cat",".*key"\] \}` under `unlock:`/);
  assert.equal((await run(["vault", "wrapper", "add", "file", "spare.key"])).code, 0);
  const env = { CREDENTIALS_DIRECTORY: dir };
  assert.equal((await run(["vault", "wrapper", "add", "systemd", "sidekey-root"], { env })).code, 0);
  const failures: [string[], number, RegExp][] = [
    [["exec", "--", "/bin/false"], 1, /\/bin\/false failed \(exit code 1\)/],
    [["exec", "--timeout", "soon", "--", "/bin/cat"], 2, /--timeout is not a span/],
    [["systemd", "sidekey-root"], 1, /CREDENTIALS_DIRECTORY is not set/],
    [["file", "/nonexistent/x.key"], 1, /nonexistent/],
  ];
  for (const [args, code, words] of failures) {
    const failed = await run(["vault", "wrapper", "add", ...args]);
    assert.equal(failed.code, code, failed.all);
    assert.match(failed.stderr, words);
    assert.doesNotMatch(failed.all, /internal error/);
  }
  assert.deepEqual((await wrappers(place)).map(({ kind }) => kind).sort(), ["exec", "file", "file", "systemd"]);
  setUnlock(place, `{ exec: [/bin/cat, ${key}] }`);
  const status = JSON.parse((await run(["vault", "status", "--json"])).stdout) as { by: string };
  assert.equal(status.by, "exec /bin/cat");
});

test("wrappers are removed by id, never the last one, and never without a yes", async (t) => {
  const place = await initializedPlace(t);
  const { run } = place;
  const [only] = await wrappers(place);
  const unknown = await run(["vault", "wrapper", "remove", "0000", "--yes"]);
  assert.equal(unknown.code, 4, unknown.all);
  const last = await run(["vault", "wrapper", "remove", only?.id ?? "", "--yes"]);
  assert.equal(last.code, 1, last.all);
  assert.match(last.stderr, /this is the last wrapper/);
  assert.equal((await run(["vault", "wrapper", "add", "passphrase", "--stdin"], { input: "correct horse" })).code, 0);
  const unasked = await run(["vault", "wrapper", "remove", only?.id ?? ""]);
  assert.equal(unasked.code, 2, unasked.all);
  assert.match(unasked.stderr, /say --yes/);
  assert.equal((await wrappers(place)).length, 2);
});

test("a vault that only a key service opens is made with a loud warning", async (t) => {
  const place = await initializedPlace(t);
  const { run, dir, config } = place;
  writeFileSync(join(dir, "key"), randomBytes(32));
  rmSync(join(dir, "data"), { recursive: true });
  appendFileSync(join(config, "daemon.yaml"), `\nunlock: [ { exec: [/bin/cat, ${join(dir, "key")}] } ]\n`);
  const made = await run(["init"]);
  assert.equal(made.code, 0, made.all);
  assert.match(made.stderr, /warning: only one remote wrapper \(exec\) can open this vault: without that service/);
});

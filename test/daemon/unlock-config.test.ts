import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { loadConfig } from "../../src/daemon/config.ts";
import type { UnlockConfig } from "../../src/daemon/unlock-config.ts";
import { problemsOf, projectWith } from "../support/daemon-yaml.ts";

const ROOT_VARIABLES = {
  PATH: "/bin",
  HOME: "/home/x",
  CREDENTIALS_DIRECTORY: "/run/credentials/sidekey",
  AWS_SECRET: "no",
};

function project(t: TestContext, unlock: string): string {
  const root = projectWith(t, `version: 1\nunlock:\n${unlock}`);
  writeFileSync(join(root, "ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  return root;
}

function load(root: string, env: Record<string, string> = ROOT_VARIABLES): readonly UnlockConfig[] {
  return loadConfig({ env, cwd: root }).unlock;
}

test("every kind of entry becomes an unlocker with absolute paths and defaults", (t) => {
  const root = project(
    t,
    `  - { file: ./var/root.key, timeout: 2s }
  - { passphrase: prompt }
  - { systemd: sidekey-root }
  - { exec: [/usr/bin/op, read, "op://vault/sidekey"], timeout: 30s }
  - vaultTransit:
      address: https://vault.example:8200
      key: sidekey
      ca: ./ca.pem
      auth: { appRole: { roleId: abc, secretId: ./secret-id } }
  - { vaultTransit: { address: "https://VAULT.example/", key: k, mount: team/transit, namespace: ns1, auth: { token: /run/token } } }
  - { vaultTransit: { address: "https://v.example", key: k, auth: { kubernetes: { role: sidekey, jwt: /var/run/token, mount: k8s } } } }
  - { awsKms: { key: alias/sidekey, region: eu-west-1, credentials: { file: ./aws } } }
  - { shares: prompt, timeout: 5m }
  - { shares: [./one.txt, /two.txt] }
`,
  );
  const at = (path: string): string => join(root, path);
  const [transit, kms] = [
    { kind: "vault-transit", namespace: null, ca: null } as const,
    { kind: "aws-kms", ca: null } as const,
  ];
  const ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  const appRole = { roleId: "abc", secretId: at("secret-id"), mount: "approle" };
  const kubernetes = { role: "sidekey", jwt: "/var/run/token", mount: "k8s" };
  const environment = { PATH: "/bin", HOME: "/home/x" };
  assert.deepEqual(load(root), [
    { file: at("var/root.key"), timeoutMs: 2000 },
    { passphrase: "prompt" },
    { unlocker: { kind: "systemd", name: "sidekey-root", directory: "/run/credentials/sidekey" } },
    { unlocker: { kind: "exec", argv: ["/usr/bin/op", "read", "op://vault/sidekey"], environment, timeoutMs: 30_000 } },
    {
      unlocker: {
        ...transit,
        ca,
        address: "https://vault.example:8200",
        key: "sidekey",
        mount: "transit",
        auth: { appRole },
      },
    },
    {
      unlocker: {
        ...transit,
        ...{ address: "https://vault.example", key: "k", mount: "team/transit", namespace: "ns1" },
        auth: { token: "/run/token" },
      },
    },
    { unlocker: { ...transit, address: "https://v.example", key: "k", mount: "transit", auth: { kubernetes } } },
    {
      unlocker: {
        ...kms,
        ...{ key: "alias/sidekey", region: "eu-west-1", endpoint: null },
        credentials: { file: at("aws"), profile: "default" },
      },
    },
    { shares: "prompt", timeoutMs: 300_000 },
    { shares: [at("one.txt"), "/two.txt"] },
  ]);
});

test("AWS credentials come from the places that AWS's own tools use", (t) => {
  const entry = (credentials: string): string =>
    `  - { awsKms: { key: k, region: eu-west-1, credentials: ${credentials} } }\n`;
  const source = (credentials: string, env: Record<string, string>): unknown => {
    const [first] = load(project(t, entry(credentials)), env);
    return first !== undefined && "unlocker" in first && "credentials" in first.unlocker
      ? first.unlocker.credentials
      : null;
  };
  const identity = {
    AWS_ROLE_ARN: "arn:aws:iam::1:role/r",
    AWS_WEB_IDENTITY_TOKEN_FILE: "/t",
    AWS_ROLE_SESSION_NAME: "s",
  };
  assert.deepEqual(source("webIdentity", identity), {
    webIdentity: { roleArn: "arn:aws:iam::1:role/r", tokenFile: "/t", sessionName: "s", endpoint: null },
  });
  assert.deepEqual(source("webIdentity", {}), {
    webIdentity: { roleArn: null, tokenFile: null, sessionName: "sidekey", endpoint: null },
  });
  assert.deepEqual(source("instance", {}), { instance: { url: "http://169.254.169.254" } });
  assert.deepEqual(source("instance", { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2/x" }), {
    container: { url: "http://169.254.170.2/v2/x", tokenFile: null },
  });
  const pod = { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://169.254.170.23/v1/credentials" };
  assert.deepEqual(source("instance", { ...pod, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/tok" }), {
    container: { url: "http://169.254.170.23/v1/credentials", tokenFile: "/tok" },
  });
});

test("wrong entries are refused with their line and what to write", (t) => {
  const message = problemsOf(
    project(
      t,
      `  - {}
  - { file: a, shares: prompt }
  - { systemd: ../key }
  - { exec: [op, read] }
  - { exec: "/usr/bin/op read" }
  - { vaultTransit: { address: "http://vault.example", key: a/b, auth: {} } }
  - { vaultTransit: { address: "https://v.example/v1", key: k, auth: { token: t, appRole: { roleId: r, secretId: s } } } }
  - { vaultTransit: { address: "https://v.example", key: k, auth: { token: t }, tls: off } }
  - { awsKms: { key: "a b", region: Frankfurt, credentials: env } }
  - { awsKms: { key: k, region: eu-west-1, credentials: instance, profile: x } }
  - { shares: ask }
  - { file: a, timeout: 10 }
  - { file: a, timeout: 1ms }
  - { passphrase: hunter2-canary }
`,
    ),
    ROOT_VARIABLES,
  );
  const expected = [
    /^daemon\.yaml:3 unlock\[0\]: write exactly one of file, passphrase, systemd, exec, vaultTransit, awsKms, shares$/m,
    /^daemon\.yaml:4 unlock\[1\]: write exactly one of/m,
    /^daemon\.yaml:5 unlock\[2\]\.systemd: is not the name of a credential$/m,
    /^daemon\.yaml:6 unlock\[3\]\.exec\[0\]: is not an absolute path; write the program's full path$/m,
    /^daemon\.yaml:7 unlock\[4\]\.exec: must be a list$/m,
    /^daemon\.yaml:8 unlock\[5\]\.vaultTransit\.address: is not https:\/\/host or https:\/\/host:port/m,
    /^daemon\.yaml:8 unlock\[5\]\.vaultTransit\.key: is not the name of a transit key$/m,
    /^daemon\.yaml:8 unlock\[5\]\.vaultTransit\.auth: write exactly one of token, appRole and kubernetes$/m,
    /^daemon\.yaml:9 unlock\[6\]\.vaultTransit\.address: is not https/m,
    /^daemon\.yaml:9 unlock\[6\]\.vaultTransit\.auth: write exactly one of/m,
    /^daemon\.yaml:10 unlock\[7\]\.vaultTransit\.tls: is not a known key; known here: address, key, mount, namespace, ca, auth$/m,
    /^daemon\.yaml:11 unlock\[8\]\.awsKms\.key: is not a key id, ARN or alias/m,
    /^daemon\.yaml:11 unlock\[8\]\.awsKms\.region: is not a region, such as eu-west-1$/m,
    /^daemon\.yaml:11 unlock\[8\]\.awsKms\.credentials: write instance, webIdentity or \{ file: <path> \}$/m,
    /^daemon\.yaml:12 unlock\[9\]\.awsKms\.profile: is not a known key; known here: key, region/m,
    /^daemon\.yaml:13 unlock\[10\]\.shares: write prompt, or a list of files$/m,
    /^daemon\.yaml:14 unlock\[11\]\.timeout: must be a text value; a number with a unit is text, such as 5s$/m,
    /^daemon\.yaml:15 unlock\[12\]\.timeout: 1ms is out of range; write 100ms to 600000ms$/m,
    /^daemon\.yaml:16 unlock\[13\]\.passphrase: must be prompt$/m,
  ];
  for (const pattern of expected) assert.match(message, pattern);
  assert.doesNotMatch(message, /canary/);
  const nowhere = project(
    t,
    "  - { vaultTransit: { address: 'https://v.example', key: k, ca: ./no.pem, auth: { token: t } } }\n",
  );
  assert.match(
    problemsOf(nowhere, ROOT_VARIABLES),
    /^daemon\.yaml:3 unlock\[0\]\.vaultTransit\.ca: .*no\.pem cannot be read \(ENOENT\)/,
  );
});

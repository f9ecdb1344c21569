import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { type AddressInfo, isIP } from "node:net";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import * as tls from "node:tls";
import { serviceEnvironment } from "../../../src/cli/environment.ts";
import { createRoot } from "../../../src/daemon/ingress/certificate-authority.ts";
import { type TrustFiles, writeTrustFiles } from "../../../src/daemon/ingress/trust-bundle.ts";
import { programRuns, requires } from "../../support/requirement.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { type ServedLeaf, servedLeafs } from "./misissued-leafs.ts";

/**
 * The name constraints are only worth what clients make of them. Each leaf of misissued-leafs.ts is served over
 * TLS, and each client must refuse all but the honest one.
 */

interface Case extends ServedLeaf {
  readonly port: number;
}

const servers: tls.Server[] = [];
let cases: readonly Case[];
let rootPem: string;

before(async () => {
  const nowMs = Date.now();
  const root = await createRoot(nowMs);
  rootPem = root.certificatePem;
  const leafs = await servedLeafs(root, nowMs);
  cases = await Promise.all(leafs.map(async (leaf) => ({ ...leaf, port: await serve(leaf.chainPem, leaf.keyPem) })));
});

after(() => {
  for (const server of servers) server.close();
});

async function serve(cert: string, key: string): Promise<number> {
  const server = tls.createServer({ cert, key }, (socket) => {
    socket.on("error", () => {});
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    socket.resume();
  });
  server.on("tlsClientError", () => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  servers.push(server);
  return (server.address() as AddressInfo).port;
}

/** The environment of `sidekey run` in a directory whose name has a space, and nothing else of this machine's. */
function trusting(t: TestContext): { dir: string; files: TrustFiles; env: NodeJS.ProcessEnv } {
  const dir = join(tempDir(t), "data dir");
  mkdirSync(dir);
  const files = writeTrustFiles(dir, rootPem);
  const variables = serviceEnvironment({ proxyUrl: "http://127.0.0.1:1", dataDir: dir });
  const { PATH, HOME } = process.env;
  return { dir, files, env: { PATH, HOME, GOTOOLCHAIN: "local", ...Object.fromEntries(variables) } };
}

/** Runs a program to its end; `code` is null when it was killed. */
async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  return await new Promise<{ code: number | null; stdout: string; stderr: string }>((done) => {
    const child = execFile(program, [...args], { env, timeout: 120_000 }, (_, stdout, stderr) =>
      done({ code: child.exitCode, stdout, stderr }),
    );
  });
}

/** `title: accepted|refused` for all cases, as `judge` found them, must be as expected. */
function assertVerdicts(verdicts: readonly (readonly [Case, boolean])[]): void {
  const line = (one: Case, accepted: boolean) => `${one.title}: ${accepted ? "accepted" : "refused"}`;
  assert.deepEqual(
    verdicts.map(([one, accepted]) => line(one, accepted)),
    cases.map((one) => line(one, one.refusal === null)),
  );
}

/** For clients that get all cases at once, as `name port` arguments, and print one `ok` or `no` line for each. */
function assertPrinted(output: { code: number | null; stdout: string; stderr: string }): void {
  const lines = output.stdout.trim().split("\n");
  assert.equal(lines.length, cases.length, output.stdout + output.stderr);
  assertVerdicts(cases.map((one, index) => [one, lines[index]?.startsWith("ok") ?? false]));
}

const targets = () => cases.flatMap((one) => [one.dial, String(one.port)]);

test("Node accepts the policy's host alone, and refuses each other leaf for the reason it was made wrong for", async () => {
  for (const one of cases) {
    const refusal = await nodeRefusal(one);
    const expected = one.refusal === null ? refusal === null : refusal?.includes(one.refusal);
    assert.ok(expected, `${one.title}: ${refusal}`);
  }
});

async function nodeRefusal(one: Case): Promise<string | null> {
  const name = isIP(one.dial) === 0 ? { servername: one.dial } : {};
  const socket = tls.connect({ port: one.port, host: "127.0.0.1", ca: rootPem, ...name });
  try {
    await once(socket, "secureConnect");
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : "no error";
  } finally {
    socket.destroy();
  }
}

test("curl accepts the policy's host alone, with the bundle that its variable names", async (t) => {
  if (!(await requires(t, "curl", () => programRuns("curl")))) return;
  const { env } = trusting(t);
  const verdicts: [Case, boolean][] = [];
  for (const one of cases) {
    const resolve = `${one.dial}:${one.port}:127.0.0.1`;
    const args = ["-sS", "--noproxy", "*", "--resolve", resolve, `https://${one.dial}:${one.port}/`];
    const { code, stderr } = await run("curl", args, env);
    assert.ok(code === 0 || code === 60, `${one.title}: ${stderr}`);
    verdicts.push([one, code === 0]);
  }
  assertVerdicts(verdicts);
});

const PYTHON = `
import socket, ssl, sys
context = ssl.create_default_context()
context.verify_flags |= ssl.VERIFY_X509_STRICT
for name, port in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        with socket.create_connection(("127.0.0.1", int(port))) as plain:
            with context.wrap_socket(plain, server_hostname=name): print("ok", name)
    except ssl.SSLCertVerificationError as error: print("no", name, error.verify_message)
`;

test("Python accepts the policy's host alone, strictly, with the bundle that SSL_CERT_FILE names", async (t) => {
  if (!(await requires(t, "python3", () => programRuns("python3")))) return;
  assertPrinted(await run("python3", ["-c", PYTHON, ...targets()], trusting(t).env));
});

const GO = `package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
)

func main() {
	for i := 1; i+1 < len(os.Args); i += 2 {
		connection, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[i+1], &tls.Config{ServerName: os.Args[i]})
		var refusal *tls.CertificateVerificationError
		if err == nil {
			fmt.Println("ok", os.Args[i])
			connection.Close()
		} else if errors.As(err, &refusal) {
			fmt.Println("no", os.Args[i], err)
		} else {
			panic(err)
		}
	}
}
`;

test("Go accepts the policy's host alone, with the bundle that SSL_CERT_FILE names", async (t) => {
  if (!(await requires(t, "Go", () => programRuns("go", ["version"])))) return;
  const { dir, env } = trusting(t);
  const file = join(dir, "main.go");
  writeFileSync(file, GO);
  assertPrinted(await run("go", ["run", file, ...targets()], env));
});

const JAVA = `
import java.net.*;
import javax.net.ssl.*;

class Probe {
  public static void main(String[] args) throws Exception {
    SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
    for (int i = 0; i + 1 < args.length; i += 2) {
      Socket plain = new Socket("127.0.0.1", Integer.parseInt(args[i + 1]));
      try (SSLSocket socket = (SSLSocket) factory.createSocket(plain, args[i], plain.getPort(), true)) {
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        System.out.println("ok " + args[i]);
      } catch (SSLHandshakeException refusal) {
        System.out.println("no " + args[i] + " " + refusal.getMessage());
      }
    }
  }
}
`;

test("Java accepts the policy's host alone, with the trust store that JAVA_TOOL_OPTIONS names", async (t) => {
  if (!(await requires(t, "a JDK", () => programRuns("javac")))) return;
  const { dir, env } = trusting(t);
  const file = join(dir, "Probe.java");
  writeFileSync(file, JAVA);
  assertPrinted(await run("java", [file, ...targets()], env));
});

test("a Node child trusts the root through NODE_EXTRA_CA_CERTS", async (t) => {
  const script = `const [host, port] = process.argv.slice(1);
    const socket = require("node:tls").connect({ host: "127.0.0.1", port, servername: host });
    socket.on("secureConnect", () => { console.log("ok"); socket.destroy(); });
    socket.on("error", (error) => console.log("no", error.code));`;
  const honest = cases[0];
  assert.ok(honest);
  const args = ["-e", script, honest.dial, String(honest.port)];
  const { env } = trusting(t);
  assert.equal((await run(process.execPath, args, env)).stdout, "ok\n");
  const without = await run(process.execPath, args, { PATH: env.PATH });
  assert.match(without.stdout, /^no /);
});

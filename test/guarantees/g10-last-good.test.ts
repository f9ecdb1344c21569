import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { type Canary, findCanary, makeCanary } from "../support/canary.ts";
import { connectRaw, wholeResponse } from "../support/raw-client.ts";
import { addCredential } from "../support/running-sidekey.ts";
import { controlCall } from "./control-call.ts";
import { FORMS, proxyAuthorization, replyOf, sendForm } from "./request-form.ts";
import { credentialFor, hostOf, keyOf, type Scene, startScene, upstreamOf } from "./scene.ts";

const HOST = hostOf("header");
const RELOADS = 1_000;

/** Path, key and cookies belong together: any other combination has seen two policies. */
function policy(letter: "a" | "b", problem = ""): string {
  const credential = letter === "a" ? "header-main" : "header-b";
  return `version: 1
unmatched: deny
clients: { app: { token: true } }
routes:
  header:
    provider: header
    credentials: [${credential}]
    clients: [app]
    allow: [{ methods: [GET], paths: [/${problem === "" ? letter : "*"}] }]
    response: { setCookie: ${letter === "a" ? "pass" : "strip"} }
${problem}`;
}

/** Each would let every path through, if any of it took effect. */
const BROKEN = [
  "    unknown: key\n",
  "  other: { provider: nowhere, credentials: [x], clients: [app] }\n",
  "    limits: [{ name: l, per: [route], requests: 300 }]\n",
  "  broken: [\n",
  "\trouted: by tabs\n",
  "  second: { provider: header, credentials: [header-main], clients: [app] }\n  third: { provider: header, credentials: [header-main], clients: [app] }\n",
  "    clients: [nobody]\n",
  `# ${"x".repeat(1024 * 1024)}\n`,
];

async function twoKeys(t: TestContext): Promise<{ scene: Scene; keys: { a: Canary; b: Canary } }> {
  const scene = await startScene(t, { handler: () => ({ headers: { "set-cookie": "session=1" }, body: "ok" }) });
  const b = makeCanary();
  await scene.sidekey.withVault((vault) => addCredential(vault, "header-b", credentialFor("header", b.text)));
  await replace(scene, policy("a"));
  for (let i = 0; i < 200; i++) {
    await replace(scene, policy("b"));
    if ((await ask(t, scene, "/b")).status === 200) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { scene, keys: { a: keyOf(scene, "header"), b } };
}

/** As an editor or a config map does it: the whole file at once. */
async function replace(scene: Scene, text: string): Promise<{ ok: boolean; revision: string }> {
  const draft = `${scene.sidekey.policyFile}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, scene.sidekey.policyFile);
  const answer = await controlCall(scene.sidekey.dataDir, "POST", "/reload");
  return JSON.parse(answer.text) as { ok: boolean; revision: string };
}

const ask = (t: TestContext, { sidekey }: Scene, path: string, i = 0) =>
  sendForm(t, FORMS[i % FORMS.length] ?? "absolute", sidekey, { host: HOST, route: "header", path });

/** Asks for /a, /b and /c, in an order that keeps no step with the reloads, until `done`; returns what was wrong and how often each was served. */
async function load(t: TestContext, scene: Scene, done: () => boolean): Promise<{ wrong: string[]; served: number[] }> {
  const wrong: string[] = [];
  const served = [0, 0, 0];
  const token = proxyAuthorization("app", scene.sidekey.tokens.app ?? "");
  const connection = await connectRaw(t, scene.sidekey);
  for (let random = 1; !done(); random = (random * 48_271) % 2_147_483_647) {
    const i = (random >> 8) % 3;
    const path = ["/a", "/b", "/c"][i] ?? "/c";
    await connection.write(
      `GET http://${HOST}${path} HTTP/1.1\r\nHost: ${HOST}\r\nProxy-Authorization: ${token}\r\n\r\n`,
    );
    const { status, seen } = replyOf(await connection.read(wholeResponse));
    connection.discard();
    if (status === 200) served[i] = (served[i] ?? 0) + 1;
    if (status !== 200 && status !== 403) wrong.push(`${path}: ${seen}`);
    if (status === 200 && path === "/c") wrong.push("/c was served");
    if (status === 200 && /set-cookie/i.test(seen) !== (path === "/a"))
      wrong.push(`${path} with the other policy's cookies`);
  }
  connection.close();
  return { wrong, served };
}

async function reloadOften(scene: Scene): Promise<void> {
  let revision = "";
  for (let i = 0; i < RELOADS; i++) {
    if (i % 2 === 0) {
      const result = await replace(scene, `${policy(i % 4 === 0 ? "a" : "b")}# ${i}\n`);
      assert.equal(result.ok, true, `reload ${i}`);
      assert.notEqual(result.revision, revision);
      revision = result.revision;
      continue;
    }
    const broken = BROKEN[(i >> 1) % BROKEN.length] ?? "";
    const result = await replace(scene, policy("a", broken));
    assert.equal(result.ok, false, `reload ${i} was broken: ${broken.slice(0, 60)}`);
    assert.equal(result.revision, revision, `reload ${i} changed the policy`);
  }
}

test("G10 last-good: through 1000 reloads, half of them broken, every exchange sees one whole policy", async (t) => {
  const { scene, keys } = await twoKeys(t);
  let done = false;
  const workers = Array.from({ length: 3 }, () => load(t, scene, () => done));
  try {
    await reloadOften(scene);
  } finally {
    done = true;
  }
  const results = await Promise.all(workers);
  assert.deepEqual(
    results.flatMap(({ wrong }) => wrong),
    [],
  );
  const served = [0, 1, 2].map((i) => results.reduce((sum, result) => sum + (result.served[i] ?? 0), 0));
  assert.ok((served[0] ?? 0) > 20 && (served[1] ?? 0) > 20, `too little was served to mean something: ${served}`);
  for (const { target, bytes } of upstreamOf(scene, "header").requests) {
    assert.equal(findCanary([bytes], keys.a).length > 0, target === "/a", target);
    assert.equal(findCanary([bytes], keys.b).length > 0, target === "/b", target);
  }
});

test("G10 last-good: a broken file, a missing file and one that anybody can write leave the policy in force, and say so", async (t) => {
  const { scene } = await twoKeys(t);
  const { chmodSync, rmSync } = await import("node:fs");
  const file = scene.sidekey.policyFile;
  const breakIt: readonly (() => void)[] = [
    () => writeFileSync(file, ""),
    () => writeFileSync(file, "version: 2\n"),
    () => writeFileSync(file, Buffer.from([0xff, 0xfe, 0])),
    () => writeFileSync(file, policy("a").slice(0, 120)),
    () => chmodSync(file, 0o666),
    () => rmSync(file),
  ];
  for (const [i, damage] of breakIt.entries()) {
    await replace(scene, policy("b"));
    damage();
    const answer = await controlCall(scene.sidekey.dataDir, "POST", "/reload");
    assert.equal(answer.status, 422, `${i}: ${answer.text}`);
    for (const form of FORMS.keys()) {
      assert.equal((await ask(t, scene, "/b", form)).status, 200, `${i}`);
      assert.equal((await ask(t, scene, "/a", form)).status, 403, `${i}`);
    }
    assert.match((await controlCall(scene.sidekey.dataDir, "GET", "/status")).text, /"ok":false/);
    const metrics = await (await fetch(`${scene.sidekey.metricsUrl}/metrics`)).text();
    assert.match(metrics, /^sidekey_policy_reload_success 0$/m);
  }
  await replace(scene, policy("a"));
  assert.equal((await ask(t, scene, "/a")).status, 200);
});

test("G10 last-good: an exchange that has begun ends under the policy it began with", async (t) => {
  const answer = Promise.withResolvers<void>();
  const scene = await startScene(t, {
    handler: async () => {
      await answer.promise;
      return { headers: { "set-cookie": "session=1" }, body: "ok" };
    },
  });
  await replace(scene, policy("a"));
  const waiting = FORMS.map((_, i) => ask(t, scene, "/a", i));
  while (upstreamOf(scene, "header").requests.length < FORMS.length)
    await new Promise((resolve) => setTimeout(resolve, 5));
  await replace(scene, policy("b"));
  answer.resolve();
  for (const reply of await Promise.all(waiting)) {
    assert.equal(reply.status, 200);
    assert.match(reply.seen, /set-cookie/i);
  }
});

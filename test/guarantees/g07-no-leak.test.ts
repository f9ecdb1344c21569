import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import { type Canary, findCanary, makeCanary } from "../support/canary.ts";
import { connectRaw } from "../support/raw-client.ts";
import { pause } from "../support/running-sidekey.ts";
import { type StandIn, type StandInHandler, startStandIn } from "../support/stand-in.ts";
import { makeAuthority } from "../support/test-authority.ts";
import { controlCall } from "./control-call.ts";
import { FORMS, proxyAuthorization, sendForm } from "./request-form.ts";
import { credentialFor, hostOf, type Kind, providerFile } from "./scene.ts";
import { type SeparateDaemon, startSeparateDaemon } from "./separate-daemon.ts";

const KINDS = ["header", "pair", "query", "basic", "body"] as const;
/** Names of the first provider that fail before a request can be sent; only the first has no stand-in at all. */
const DEAD_ENDS = ["nowhere", "refused", "wrong-name", "expired", "self-signed"] as const;
const deadEnd = (name: string): string => `${name}.header.test`;

/** The path says how the provider fails. */
const failing: StandInHandler = async ({ target }, socket) => {
  switch (target.split("?")[0]) {
    case "/reset":
      return void socket.destroy();
    case "/half":
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
      await pause(20);
      return void socket.destroy();
    case "/never":
      return;
    case "/garbage":
      return "HTTP/9 what\r\n\r\n";
    case "/huge":
      return `HTTP/1.1 200 OK\r\nX-Huge: ${"x".repeat(100_000)}\r\n\r\n`;
    case "/lies":
      return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    case "/denied":
      return { status: 401, headers: { "www-authenticate": "Bearer", "set-cookie": "a=b" }, body: "no" };
    default:
      return { body: "ok" };
  }
};

interface World {
  readonly daemon: SeparateDaemon;
  readonly upstream: StandIn;
  /** What must not be found anywhere: provider keys, a client token, a client's own key, a query. */
  readonly canaries: Readonly<Record<string, Canary>>;
  readonly follower: { text(): string };
  /** Every byte that a client was sent. */
  readonly seen: string[];
}

async function startWorld(t: TestContext): Promise<World> {
  const authority = makeAuthority();
  const upstream = await startStandIn(t, { hostnames: KINDS.map((kind) => hostOf(kind)), authority, handler: failing });
  const keys = Object.fromEntries(KINDS.map((kind) => [kind, makeCanary({ special: kind !== "header" })]));
  const headerHosts = [hostOf("header"), ...DEAD_ENDS.map(deadEnd)];
  const hosts: [string, { port: number; caPem: string }][] = KINDS.map((kind) => [
    hostOf(kind),
    { port: upstream.port, caPem: authority.caPem },
  ]);
  for (const name of DEAD_ENDS.slice(2)) {
    const certificate = name as "wrong-name" | "expired" | "self-signed";
    const { port } = await startStandIn(t, { hostnames: [deadEnd(name)], authority, certificate });
    hosts.push([deadEnd(name), { port, caPem: authority.caPem }]);
  }
  const closed = await startStandIn(t, { hostnames: [deadEnd("refused")], authority });
  await closed.close();
  hosts.push([deadEnd("refused"), { port: closed.port, caPem: authority.caPem }]);
  const providers = Object.fromEntries(KINDS.map((kind) => [kind, providerFile(kind)]));
  const several = `hosts: [${headerHosts.map((host) => `"${host}"`).join(", ")}]`;
  const header = (providers.header ?? "").replace(/hosts: \[.*\]/, several);
  const daemon = await startSeparateDaemon(t, {
    policy: POLICY,
    providers: { ...providers, header },
    credentials: Object.fromEntries(
      KINDS.map((kind) => {
        const credential = credentialFor(kind, keys[kind]?.text ?? "");
        return [`${kind}-main`, kind === "header" ? { ...credential, hosts: headerHosts } : credential];
      }),
    ),
    hosts,
    clients: ["app", "calm"],
  });
  const secretOfToken = (daemon.tokens.app ?? "").split("_").slice(2).join("_");
  const token: Canary = { text: secretOfToken, bytes: Buffer.from(secretOfToken) };
  const canaries = { ...keys, token, ownKey: makeCanary(), search: makeCanary() };
  return { daemon, upstream, canaries, follower: follow(daemon), seen: [] };
}

const POLICY = `version: 1
unmatched: tunnel
clients: { app: { token: true }, calm: { token: true } }
routes:
${KINDS.map((kind) => `  ${kind}: { provider: ${kind}, credentials: [${kind}-main], clients: [app, calm], timeouts: { connect: 1s, headers: 200ms, idle: 200ms }${kind === "pair" ? ", limits: [{ name: n, per: [route], requests: 1/h }]" : ""} }`).join("\n")}
`;

/** What `sidekey requests --follow` would print. */
function follow(daemon: SeparateDaemon): World["follower"] {
  let text = "";
  const call = httpRequest({ socketPath: join(daemon.dataDir, "daemon.sock"), path: "/requests" }, (response) => {
    response.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
  });
  call.on("error", () => {});
  call.end();
  return { text: () => text };
}

/** One request of `kind` in every form, with a client's own key and a telling query beside it. */
async function everyForm(
  t: TestContext,
  world: World,
  kind: Kind,
  ask: { host?: string; path?: string; token?: string },
): Promise<void> {
  const { ownKey, search } = world.canaries;
  const query = `?q=${search?.text}&apikey=${ownKey?.text}`;
  for (const form of FORMS) {
    if (form === "origin" && ask.host) continue;
    const reply = await sendForm(t, form, world.daemon, {
      host: ask.host ?? hostOf(kind),
      route: kind,
      path: `${ask.path ?? "/ok"}${query}`,
      fields: [
        "X-Api-Key",
        ownKey?.text ?? "",
        "Authorization",
        `Bearer ${ownKey?.text}`,
        "Cookie",
        `apikey=${ownKey?.text}`,
      ],
      ...(ask.token === undefined ? {} : { token: ask.token }),
      ...(kind === "body" ? { method: "POST", body: `{"a":1,"secret":"${ownKey?.text}"}` } : {}),
      timeoutMs: 4_000,
    });
    world.seen.push(reply.seen);
  }
}

async function everyFailure(t: TestContext, world: World): Promise<void> {
  for (const kind of KINDS) {
    for (const path of ["/ok", "/reset", "/half", "/never", "/garbage", "/huge", "/lies", "/denied", "/x/../y"]) {
      // While another client is served well, one that fails again and again opens no circuit breaker.
      if (kind !== "pair") {
        await sendForm(t, "absolute", world.daemon, { client: "calm", host: hostOf(kind), route: kind, path: "/ok" });
      }
      await everyForm(t, world, kind, { path });
    }
    await everyForm(t, world, kind, { token: `${world.daemon.tokens.app}x` });
    await goAway(t, world, kind);
  }
  for (const name of DEAD_ENDS) await everyForm(t, world, "header", { host: deadEnd(name) });
  await everyForm(t, world, "header", { host: "nowhere.test" });
  // A row that does not open is an error that nobody foresaw.
  await pause(800);
  const db = new Database(join(world.daemon.dataDir, "vault.db"));
  db.exec("UPDATE versions SET sealed = zeroblob(length(sealed))");
  db.close();
  for (const kind of KINDS) await everyForm(t, world, kind, {});
}

/** The client hangs up in the middle of its request, and in the middle of the answer. */
async function goAway(t: TestContext, { daemon, seen }: World, kind: Kind): Promise<void> {
  const token = proxyAuthorization("app", daemon.tokens.app ?? "");
  const head = `POST http://${hostOf(kind)}/never HTTP/1.1\r\nHost: ${hostOf(kind)}\r\nProxy-Authorization: ${token}\r\n`;
  for (const rest of [
    'Content-Length: 100\r\n\r\n{"a"',
    'Content-Length: 7\r\n\r\n{"a":1}',
    "Bad Header\r\n\r\n",
    "Content-Length: x\r\n\r\n",
  ]) {
    const connection = await connectRaw(t, daemon);
    await connection.write(head + rest);
    seen.push((await connection.read(undefined, 60)).text);
    connection.close();
  }
}

/** Everything that sidekey says or writes anywhere, by where. */
async function outputs({ daemon, follower, seen }: World): Promise<Record<string, (Buffer | string)[]>> {
  const report = join(daemon.home, "report.json");
  await daemon.report(report);
  return {
    clients: seen,
    log: [daemon.log()],
    follower: [follower.text()],
    status: [(await controlCall(daemon.dataDir, "GET", "/status")).text],
    reload: [(await controlCall(daemon.dataDir, "POST", "/reload")).text],
    metrics: [await (await fetch(`${daemon.metricsUrl}/metrics`)).text()],
    report: [readFileSync(report)],
    files: filesBelow(daemon.home).map((path) => readFileSync(path)),
    process: ["cmdline", "environ"].map((name) => readFileSync(`/proc/${daemon.pid}/${name}`)),
  };
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => join(dir, name))
    .filter((path) => statSync(path).isFile());
}

test("G7 no-leak: through every forced failure in every form, no key, token, client's own key or query is in any output", async (t) => {
  const world = await startWorld(t);
  await everyFailure(t, world);
  await pause(200);
  const all = await outputs(world);
  const found: string[] = [];
  for (const [where, texts] of Object.entries(all)) {
    assert.ok(
      texts.some((text) => text.length > 0),
      `${where} is empty, so nothing was looked at`,
    );
    for (const [what, canary] of Object.entries(world.canaries)) {
      for (const { form, buffer } of findCanary(texts, canary)) found.push(`${what} (${form}) in ${where} ${buffer}`);
    }
  }
  assert.deepEqual(found, []);
  // The failures did happen: each code is in the log.
  const log = world.daemon.log();
  for (const code of [
    "client_unknown",
    "upstream_tls",
    "upstream_connect",
    "upstream_timeout",
    "upstream_protocol",
    "limit_exceeded",
    "truncated",
    "bad_request",
    "client_closed",
    "internal",
  ]) {
    assert.ok(log.includes(`"${code}"`), `no ${code} was forced`);
  }
  // What went to the provider holds its key, and neither token nor the client's own key.
  const sent = world.upstream.received();
  assert.ok(world.canaries.header && findCanary(sent, world.canaries.header).length > 0);
  for (const what of ["token", "ownKey"]) {
    const canary = world.canaries[what];
    assert.deepEqual(canary && findCanary(sent, canary), [], `${what} reached the provider`);
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeAuthority } from "../support/test-authority.ts";
import { FORMS, sendForm } from "./request-form.ts";
import { hostOf, keysSeen, startScene, upstreamOf } from "./scene.ts";

const UNLISTED = "evil.test";
const request = { host: hostOf("header"), route: "header" };

test("G1 right-origin: a redirect, a Refresh and a Link to another host are passed on and never followed", async (t) => {
  for (const status of [301, 302, 303, 307, 308, 200]) {
    const away = `https://${UNLISTED}/take`;
    const headers = {
      location: away,
      refresh: `0; url=${away}`,
      link: `<${away}>; rel=preload`,
      "alt-svc": `h3="${UNLISTED}:443"`,
    };
    const scene = await startScene(t, {
      kinds: ["header", "query"],
      strangers: [UNLISTED],
      handler: () => ({ status, headers }),
    });
    for (const form of FORMS) {
      const reply = await sendForm(t, form, scene.sidekey, request);
      assert.equal(reply.status, status, form);
      assert.ok(reply.seen.includes(away), `${form}: the redirect is for the client to see`);
      assert.doesNotMatch(reply.seen, /alt-svc/i, `${form}: Alt-Svc would lead around sidekey`);
      const query = await sendForm(t, form, scene.sidekey, { host: hostOf("query"), route: "query" });
      assert.equal(query.status, status, form);
    }
    assert.equal(upstreamOf(scene, UNLISTED).connections(), 0);
    assert.deepEqual(keysSeen(scene), ["header>header", "query>query"]);
  }
});

test("G1 right-origin: a stand-in that fails TLS verification gets no byte of a request, in any form", async (t) => {
  const kinds = ["wrong-name", "expired", "not-yet-valid", "self-signed", "untrusted"] as const;
  for (const certificate of kinds) {
    const scene = await startScene(
      t,
      certificate === "untrusted" ? { caPem: makeAuthority("another authority").caPem } : { certificate },
    );
    for (const form of FORMS) {
      const reply = await sendForm(t, form, scene.sidekey, { ...request, method: "POST", body: "x" });
      assert.equal(reply.status, 502, `${certificate} ${form}`);
      assert.equal(reply.code, "upstream_tls", `${certificate} ${form}`);
    }
    assert.equal(Buffer.concat(upstreamOf(scene, "header").received()).length, 0, certificate);
    assert.deepEqual(keysSeen(scene), []);
  }
});

test("G1 right-origin: a client gets the key of its own route only", async (t) => {
  const clients = ["app", "other"];
  const scene = await startScene(t, {
    kinds: ["header", "query"],
    clients,
    routeClients: { header: ["app"], query: ["other"] },
  });
  for (const form of FORMS) {
    for (const client of clients) {
      for (const kind of ["header", "query"] as const) {
        const reply = await sendForm(t, form, scene.sidekey, { host: hostOf(kind), route: kind, client });
        const own = (client === "app") === (kind === "header");
        assert.equal(reply.status, own ? 200 : 403, `${client} ${kind} ${form}`);
      }
    }
  }
  assert.deepEqual(keysSeen(scene), ["header>header", "query>query"]);
  assert.equal(upstreamOf(scene, "header").requests.length, FORMS.length);
  assert.equal(upstreamOf(scene, "query").requests.length, FORMS.length);
});

test("G1 right-origin: two clients of one route never share a connection to the provider", async (t) => {
  const clients = ["app", "other"];
  const scene = await startScene(t, { clients });
  for (let i = 0; i < 4; i++) {
    for (const client of clients)
      await sendForm(t, "absolute", scene.sidekey, { ...request, client, path: `/${client}` });
  }
  const byConnection = new Map<number, Set<string>>();
  for (const { connection, target } of upstreamOf(scene, "header").requests) {
    byConnection.set(connection, (byConnection.get(connection) ?? new Set()).add(target));
  }
  assert.equal(upstreamOf(scene, "header").requests.length, 8);
  for (const targets of byConnection.values()) assert.equal(targets.size, 1);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { sendRaw, wholeResponse } from "../../support/raw-client.ts";
import { HOSTS, startClientScene } from "./client-scene.ts";

/** What the stand-in must not let pass, each sent straight to it. */
const BAD = {
  "no key": { field: "Accept: */*", complaint: /authorization is wrong/ },
  "a wrong key": { field: "Authorization: Bearer sk-wrong", complaint: /authorization is wrong/ },
  "a token": { field: "X-Trace: TOKEN", complaint: /the token is left/ },
  "an encoded token": { field: "X-Trace: BASE64", complaint: /the token is left/ },
  "another provider's place": { field: "X-Api-Key: k", complaint: /x-api-key is wrong/ },
  "a proxy field": { field: "Proxy-Connection: keep-alive", complaint: /Proxy-Connection is left/ },
} as const;

for (const [name, { field, complaint }] of Object.entries(BAD)) {
  test(`the clients' provider refuses a request with ${name}`, async (t) => {
    const { standIn, token, arrived } = await startClientScene(t);
    const encoded = Buffer.from(`app:${token}`).toString("base64");
    const line = field.replace("TOKEN", token).replace("BASE64", encoded);
    const reply = await sendRaw(t, {
      port: standIn.port,
      tls: { ca: standIn.caPem, servername: HOSTS.openai },
      bytes: `GET /v1/models HTTP/1.1\r\nHost: ${HOSTS.openai}\r\n${line}\r\n\r\n`,
      until: wholeResponse,
    });
    assert.match(reply.text, /^HTTP\/1\.1 401 /);
    assert.throws(() => arrived(1), complaint);
  });
}

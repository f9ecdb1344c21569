import { createLoopbackIdentity } from "../src/daemon/loopback-identity.ts";
import { ready } from "../src/store/crypto.ts";
import { cpuSeconds, startScript } from "./process.ts";

const HOST = "api.openai.com";
await ready();
const id = await createLoopbackIdentity(HOST, Date.now());
const mitm = await createLoopbackIdentity(HOST, Date.now());
const up = await startScript("upstream.ts", "others", { key: id.keyPem, cert: id.chainPem });
const upstreamPort = Number(up.line);
const pt = await startScript("passthrough.ts", "proxy", {
  upstreamPort,
  caPem: id.caPem,
  host: HOST,
  key: mitm.keyPem,
  cert: mitm.chainPem,
});
const sk = await startScript("sidekey.ts", "proxy", { upstreamPort, caPem: id.caPem, host: HOST });
const s = JSON.parse(sk.line);
const auth = "Proxy-Authorization: Basic " + Buffer.from("app:" + s.token).toString("base64") + "\r\n";
const targets: any = {
  "pass abs": {
    port: Number(pt.line),
    tls: "none",
    ca: "",
    connect: null,
    request: `GET http://${HOST}/1k HTTP/1.1\r\nHost: ${HOST}\r\n${auth}User-Agent: x\r\nAccept: */*\r\n\r\n`,
    pid: pt.process.pid,
  },
  "side abs": {
    port: s.port,
    tls: "none",
    ca: "",
    connect: null,
    request: `GET http://${HOST}/1k HTTP/1.1\r\nHost: ${HOST}\r\n${auth}User-Agent: x\r\nAccept: */*\r\n\r\n`,
    pid: sk.process.pid,
  },
  "pass con": {
    port: Number(pt.line),
    tls: "connect",
    ca: mitm.caPem,
    connect: `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n${auth}\r\n`,
    request: `GET /1k HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n`,
    pid: pt.process.pid,
  },
  "side con": {
    port: s.port,
    tls: "connect",
    ca: s.caPem,
    connect: `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n${auth}\r\n`,
    request: `GET /1k HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n`,
    pid: sk.process.pid,
  },
};
const secs = Number(process.argv[2] ?? 3);
for (let round = 0; round < Number(process.argv[3] ?? 2); round++)
  for (const [name, t] of Object.entries<any>(targets)) {
    const c0 = cpuSeconds(t.pid);
    const r = await startScript("load.ts", "others", {
      ...t,
      host: HOST,
      connections: 32,
      seconds: secs,
      rate: null,
      requests: null,
      sse: false,
    });
    const x = JSON.parse(r.line);
    const cpu = cpuSeconds(t.pid) - c0;
    console.log(
      name,
      Math.round(x.requests / x.seconds),
      "r/s",
      "cpu us/req",
      Math.round((cpu / x.requests) * 1e6),
      "err",
      x.errors,
      "p50",
      x.p50.toFixed(2),
      "p99",
      x.p99.toFixed(2),
    );
  }
await up.stop();
await pt.stop();
await sk.stop();

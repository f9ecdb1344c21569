import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { ProxyError } from "../pipeline/errors.ts";
import type { Incoming, ParsedRequest } from "../pipeline/exchange.ts";
import { DownstreamH2, endsWithHead } from "./downstream-h2.ts";
import { type RequestHead, readHead } from "./head.ts";
import { RequestBody } from "./request-body.ts";
import type { ConnectContext } from "./requests.ts";
import { interceptedTarget } from "./target.ts";

/** An HTTP/2 stream of an intercepted connection, in the same message model as HTTP/1.1 (threats G3). */
export function incomingStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  raw: readonly string[],
  connect: ConnectContext,
): Incoming & { readonly downstream: DownstreamH2 } {
  const downstream = new DownstreamH2(stream);
  return {
    form: "connect",
    method: pseudo(headers, ":method"),
    fields: withoutPseudo(raw),
    parse: () => {
      const parsed = parseStream(stream, headers, raw, connect);
      if (parsed.body) downstream.expectBody(parsed.body, parsed.expectContinue);
      return parsed;
    },
    upgradeHead: null,
    remoteAddress: connect.remoteAddress,
    connectAuthorization: connect.authorization,
    downstream,
    arrivedAt: performance.now(),
  };
}

function parseStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  raw: readonly string[],
  connect: ConnectContext,
): ParsedRequest & { readonly body: RequestBody | null } {
  const head = headOf(stream, headers, raw);
  const target = interceptedTarget(head, connect.authority, false);
  return {
    target,
    body: head.hasBody ? new RequestBody(stream) : null,
    bodyLength: head.bodyLength,
    expectContinue: head.expectContinue,
    websocketKey: null,
  };
}

/** RFC 9113 section 8.3.1: `:authority` decides; a Host field beside it must say the same. */
function headOf(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]): RequestHead {
  const authority = pseudo(headers, ":authority");
  if (pseudo(headers, ":scheme") !== "https") throw bad("the :scheme must be https");
  if (pseudo(headers, ":method") === "CONNECT") throw bad("CONNECT inside a CONNECT is refused");
  const fields = withoutPseudo(raw);
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() !== "host") continue;
    if (fields[i + 1]?.toLowerCase() !== authority.toLowerCase()) throw bad("Host and :authority differ");
    fields.splice(i, 2);
    i -= 2;
  }
  const head = readHead(pseudo(headers, ":method"), pseudo(headers, ":path"), "1.1", [...fields, "Host", authority]);
  const ends = stream.readableEnded || endsWithHead(stream);
  return { ...head, hasBody: !ends && head.bodyLength !== 0 };
}

/** Fields without pseudo-fields; cookie crumbs are joined again (RFC 9113 section 8.2.3). */
function withoutPseudo(raw: readonly string[]): string[] {
  const fields: string[] = [];
  let cookieAt = -1;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? "";
    const value = raw[i + 1] ?? "";
    if (name.startsWith(":")) continue;
    if (name === "cookie" && cookieAt !== -1) {
      fields[cookieAt] += `; ${value}`;
      continue;
    }
    if (name === "cookie") cookieAt = fields.length + 1;
    fields.push(name, value);
  }
  return fields;
}

function pseudo(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return typeof value === "string" ? value : "";
}

function bad(message: string): ProxyError {
  return new ProxyError("bad_request", message, { reason: "pseudo_fields" });
}

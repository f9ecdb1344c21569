import type { IncomingMessage, ServerResponse } from "node:http";
import type { PolicySnapshot } from "../../policy/compile.ts";
import { ProxyError } from "../pipeline/errors.ts";
import type { Incoming, ParsedRequest, RequestTarget } from "../pipeline/exchange.ts";
import { DownstreamH1 } from "./downstream-h1.ts";
import { type RequestHead, readHead } from "./head.ts";
import { RequestBody } from "./request-body.ts";
import { type Authority, absoluteTarget, interceptedTarget, originTarget } from "./target.ts";

/** The CONNECT that a request came through, when it came through one. */
export interface ConnectContext {
  readonly authority: Authority;
  /** True for `CONNECT host:80`: the tunnel carries plain HTTP, as an absolute-form request would. */
  readonly plain: boolean;
  readonly authorization: string | null;
  readonly remoteAddress: string;
}

/** An HTTP/1.1 request, in any of its forms, as the pipeline takes it. */
export function incomingRequest(
  request: IncomingMessage,
  response: ServerResponse,
  connect: ConnectContext | null,
  localNames: ReadonlySet<string>,
  upgradeHead: Buffer | null,
): Incoming & { readonly downstream: DownstreamH1 } {
  const url = request.url ?? "";
  const downstream = new DownstreamH1(response);
  return {
    form: connect ? "connect" : url.startsWith("/") ? "origin" : "absolute",
    method: request.method ?? "",
    fields: request.rawHeaders,
    parse: (policy) => {
      const parsed = parseRequest(request, connect, policy, localNames, upgradeHead !== null);
      if (parsed.body) downstream.expectBody(parsed.body);
      return parsed;
    },
    upgradeHead,
    remoteAddress: connect?.remoteAddress ?? request.socket.remoteAddress ?? "",
    connectAuthorization: connect?.authorization ?? null,
    downstream,
    arrivedAt: performance.now(),
  };
}

function parseRequest(
  request: IncomingMessage,
  connect: ConnectContext | null,
  policy: PolicySnapshot,
  localNames: ReadonlySet<string>,
  isUpgrade: boolean,
): ParsedRequest & { readonly body: RequestBody | null } {
  const head = readHead(request.method ?? "", request.url ?? "", request.httpVersion, request.rawHeaders);
  const target = targetOf(head, connect, policy, localNames);
  return {
    target,
    body: head.hasBody ? new RequestBody(request) : null,
    bodyLength: head.bodyLength,
    expectContinue: head.expectContinue,
    websocketKey: isUpgrade || head.websocket ? websocketKey(head) : null,
  };
}

function targetOf(
  head: RequestHead,
  connect: ConnectContext | null,
  policy: PolicySnapshot,
  localNames: ReadonlySet<string>,
): RequestTarget {
  if (connect) return interceptedTarget(head, connect.authority, connect.plain);
  return head.url.startsWith("/") ? originTarget(head, policy, localNames) : absoluteTarget(head);
}

/** RFC 6455 section 4.2.1; anything else that asks for an upgrade could keep a raw connection open (threats H1). */
function websocketKey(head: RequestHead): string {
  const key = field(head, "sec-websocket-key");
  const version = field(head, "sec-websocket-version");
  const valid =
    head.method === "GET" && !head.hasBody && head.bodyLength === null && version === "13" && isNonce(key ?? "");
  if (valid && key !== null) return key;
  throw new ProxyError("bad_request", "the WebSocket handshake is not valid (GET, no body, version 13, 16-byte key)", {
    reason: "websocket_handshake",
    fields: ["Sec-WebSocket-Version", "13"],
  });
}

function isNonce(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}

/** Null also when the field is there twice: two servers could take different ones. */
function field(head: RequestHead, wanted: string): string | null {
  let found: string | null = null;
  for (let i = 0; i < head.fields.length; i += 2) {
    if (head.fields[i]?.toLowerCase() !== wanted) continue;
    if (found !== null) return null;
    found = head.fields[i + 1] ?? "";
  }
  return found;
}

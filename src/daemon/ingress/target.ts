import type { PolicySnapshot } from "../../policy/compile.ts";
import { routeForSegment } from "../../policy/decide.ts";
import { parseAuthority } from "../../policy/host.ts";
import { ProxyError } from "../pipeline/errors.ts";
import type { Fields, RequestTarget } from "../pipeline/exchange.ts";
import type { RequestHead } from "./head.ts";

/**
 * From the request line and Host to one canonical target. The target is never a guess: where two
 * readings are possible the request is refused, because the key follows the reading (threats A1-A9).
 */

export interface Authority {
  readonly host: string;
  readonly port: number;
}

const HTTPS_PORT = 443;

/**
 * `GET http://api.openai.com/v1/models`: any explicit port is the policy's to judge; without one it is
 * 443, because sidekey speaks TLS upstream whatever the client wrote.
 */
export function absoluteTarget(head: RequestHead): RequestTarget {
  const match = /^(https?):\/\/([^/?]*)(\/[^?]*)?(?:\?(.*))?$/i.exec(head.url);
  if (!match) throw bad("the request target is neither an http(s) URL nor a path", "target");
  const secure = match[1]?.toLowerCase() === "https";
  const authority = readAuthority(match[2] ?? "", secure);
  // The same text is the same authority; nearly every client sends it so.
  if (head.host !== null && head.host !== match[2]) sameAuthority(authority, readAuthority(head.host, secure));
  return { form: "absolute", ...authority, path: match[3] ?? "/", query: match[4] ?? "" };
}

/**
 * A request inside an intercepted CONNECT: its Host must be the CONNECT's authority, every time (threats A5).
 * @param plain the tunnel was opened to port 80 and carries plain HTTP, so Host may say 80 or nothing
 */
export function interceptedTarget(head: RequestHead, connect: Authority, plain: boolean): RequestTarget {
  if (!head.url.startsWith("/")) throw bad("inside a CONNECT the request target must be a path", "target");
  if (head.host === null) throw bad("the Host field is missing", "host");
  const host = readAuthority(head.host, !plain);
  if (host.host !== connect.host || host.port !== connect.port) {
    throw new ProxyError("authority_mismatch", "Host is not the host that this connection was opened for");
  }
  return { form: "connect", host: connect.host, port: connect.port, ...splitPath(head.url) };
}

/** `GET /openai/v1/models`: the first segment names a route or provider; the rest goes on byte-exact. */
export function originTarget(
  head: RequestHead,
  policy: PolicySnapshot,
  localNames: ReadonlySet<string>,
): RequestTarget {
  if (!head.url.startsWith("/")) throw bad("the request target is neither an http(s) URL nor a path", "target");
  checkLocalHost(head.host, localNames);
  refuseBrowsers(head.fields);
  const { path, query } = splitPath(head.url);
  const slash = path.indexOf("/", 1);
  const segment = slash === -1 ? path.slice(1) : path.slice(1, slash);
  const host = routeForSegment(policy, segment)[0]?.hosts[0];
  if (!host) {
    throw new ProxyError(
      "no_route",
      "the first part of the path must be the id of a route or provider (/openai/v1/...)",
      {
        reason: "segment_not_in_policy",
      },
    );
  }
  return { form: "origin", host: host.host, port: host.port, path: slash === -1 ? "/" : path.slice(slash), query };
}

/** `CONNECT api.openai.com:443`; the port is required (RFC 9110 section 9.3.6), and Host must agree. */
export function connectAuthority(head: RequestHead): Authority {
  const authority = parseAuthority(head.url, null);
  if (!authority.ok) throw bad(`the CONNECT target is not valid: ${authority.reason}`, "target");
  if (head.host !== null) {
    const host = parseAuthority(head.host, authority.port);
    if (!host.ok) throw bad(`Host is not valid: ${host.reason}`, "host");
    sameAuthority(authority, host);
  }
  return { host: authority.host, port: authority.port };
}

/** A service talks to few hosts, again and again. */
const MAX_KNOWN = 500;
const known = { secure: new Map<string, Authority>(), plain: new Map<string, Authority>() };

function readAuthority(text: string, secure: boolean): Authority {
  const cache = secure ? known.secure : known.plain;
  let authority = cache.get(text);
  if (!authority) {
    authority = parseHostPort(text, secure);
    if (cache.size >= MAX_KNOWN) cache.clear();
    cache.set(text, authority);
  }
  return authority;
}

/** The client's port 80 only says that it spoke HTTP to us. */
function parseHostPort(text: string, secure: boolean): Authority {
  const authority = parseAuthority(text, HTTPS_PORT);
  if (!authority.ok) throw bad(`the host is not valid: ${authority.reason}`, "host");
  const port = !secure && authority.port === 80 ? HTTPS_PORT : authority.port;
  return { host: authority.host, port };
}

function sameAuthority(target: Authority, host: Authority): void {
  if (target.host === host.host && target.port === host.port) return;
  throw bad("Host and request target name different hosts", "host_mismatch");
}

function splitPath(url: string): { path: string; query: string } {
  const mark = url.indexOf("?");
  return mark === -1 ? { path: url, query: "" } : { path: url.slice(0, mark), query: url.slice(mark + 1) };
}

/** A page that makes its own name resolve to 127.0.0.1 still sends its own Host (threats J6). */
function checkLocalHost(raw: string | null, localNames: ReadonlySet<string>): void {
  if (raw === null) throw bad("the Host field is missing", "host");
  const host = parseAuthority(raw, 80);
  if (!host.ok) throw bad(`Host is not valid: ${host.reason}`, "host");
  if (localNames.has(host.host)) return;
  throw new ProxyError("authority_mismatch", "Host is not one of sidekey's own names (localNames in daemon.yaml)");
}

function refuseBrowsers(fields: Fields): void {
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]?.toLowerCase();
    const value = fields[i + 1]?.toLowerCase() ?? "";
    if (name === "origin" || (name === "sec-fetch-site" && value !== "none" && value !== "same-origin")) {
      throw new ProxyError("not_allowed", "requests from web pages are refused", { reason: "cross_site" });
    }
  }
}

function bad(message: string, reason: string): ProxyError {
  return new ProxyError("bad_request", message, { reason });
}

import type { HostPattern } from "./schema.ts";

const DEFAULT_PORT = 443;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Parses `name`, `name:port` or `*.suffix[:port]`.
 * @throws Error with a sentence that says what to write instead.
 */
export function parseHostPattern(text: string): HostPattern {
  const [name = "", portText, extra] = text.split(":");
  if (extra !== undefined) throw new Error(`"${text}" is not a host; write a name, or name:port`);
  const wildcard = name.startsWith("*.");
  const labels = (wildcard ? name.slice(2) : name).split(".");
  const last = labels[labels.length - 1] ?? "";
  if (name.length > 253 || !labels.every((label) => LABEL.test(label))) {
    throw new Error(`"${text}" is not a canonical host name; write lower-case ASCII labels, * only as the first label`);
  }
  if (/^\d+$/.test(last)) throw new Error(`"${text}" is an address; providers are named by host`);
  if (wildcard && labels.length < 2) throw new Error(`"${text}" covers a whole top-level domain; name the suffix`);
  return Object.freeze({
    host: name,
    port: portText === undefined ? DEFAULT_PORT : parsePort(text, portText),
    wildcard,
  });
}

function parsePort(text: string, digits: string): number {
  const port = /^[1-9]\d{0,4}$/.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > 65535) throw new Error(`"${text}" has no valid port; write 1-65535 without leading zeros`);
  return port;
}

/** Whether `host` (a name, with `:port` unless 443) is the pattern's; `*.suffix` covers exactly one label more. */
export function coversHost(pattern: HostPattern, host: string): boolean {
  const port = pattern.port === DEFAULT_PORT ? "" : `:${pattern.port}`;
  if (!pattern.wildcard) return `${pattern.host}${port}` === host;
  const suffix = `${pattern.host.slice(1)}${port}`;
  return host.endsWith(suffix) && LABEL.test(host.slice(0, -suffix.length));
}

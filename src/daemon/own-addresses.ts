import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { classifyAddress } from "../policy/address.ts";
import { formatIp, parseIp, unmapped } from "../policy/ip.ts";

export interface Listener {
  readonly host: string;
  readonly port: number;
}

/**
 * Whether dialling `address:port` would reach one of sidekey's own listeners (guarantee G13). A listener
 * on all interfaces is reached by every local address, and the unspecified address reaches loopback.
 */
export function isOwnListener(listeners: readonly Listener[], address: string, port: number): boolean {
  const dialled = canonical(address);
  return listeners.some((own) => own.port === port && reaches(canonical(own.host), dialled));
}

/** `::ffff:127.0.0.1` connects to 127.0.0.1. */
function canonical(address: string): string {
  const bytes = parseIp(address);
  return bytes === null ? address : formatIp(unmapped(bytes));
}

function reaches(host: string, address: string): boolean {
  const kind = classifyAddress(address);
  if (host === address || kind === "unspecified") return true;
  if (classifyAddress(host) === "unspecified") return kind === "loopback" || isLocal(address);
  return kind === "loopback" && classifyAddress(host) === "loopback" && isIP(host) === isIP(address);
}

function isLocal(address: string): boolean {
  return Object.values(networkInterfaces()).some((entries) => entries?.some((entry) => entry.address === address));
}

import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { classifyAddress } from "../policy/address.ts";

export interface Listener {
  readonly host: string;
  readonly port: number;
}

/**
 * Whether dialling `address:port` would reach one of sidekey's own listeners (guarantee G13). A listener
 * on all interfaces is reached by every local address, and the unspecified address reaches loopback.
 */
export function isOwnListener(listeners: readonly Listener[], address: string, port: number): boolean {
  return listeners.some((own) => own.port === port && reaches(own.host, address));
}

function reaches(host: string, address: string): boolean {
  const kind = classifyAddress(address);
  if (host === address || kind === "unspecified" || kind === "mapped") return true;
  if (classifyAddress(host) === "unspecified") return kind === "loopback" || isLocal(address);
  return kind === "loopback" && classifyAddress(host) === "loopback" && isIP(host) === isIP(address);
}

function isLocal(address: string): boolean {
  return Object.values(networkInterfaces()).some((entries) => entries?.some((entry) => entry.address === address));
}

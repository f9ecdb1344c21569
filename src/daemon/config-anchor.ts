import { isIP } from "node:net";
import { z } from "zod";
import type { Secret } from "../secret.ts";

/** Where the anchor is sent when it has moved, so that a copy lies out of reach of who can write the data directory. */
export interface AnchorConfig {
  readonly everyMs: number;
  readonly syslog: SyslogAddress | null;
  readonly webhook: WebhookConfig | null;
}

export type SyslogAddress =
  | { readonly kind: "udp" | "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

export interface WebhookConfig {
  /** https only. */
  readonly url: string;
  /** PEM of the authority that signs for it, instead of the public ones. */
  readonly ca: string | null;
  /** Signs each body; stays open as long as the daemon runs. */
  readonly secret: Secret | null;
}

const ADDRESS = "write udp://host:514, tcp://host:601 or unix:///path/of/a/stream/socket";

/** `udp://host:port`, `tcp://host:port`, `unix:///path`. @throws Error with what to write */
export function parseSyslogAddress(text: string): SyslogAddress {
  const path = /^unix:\/\/(\/.{1,106})$/.exec(text)?.[1];
  if (path !== undefined) return { kind: "unix", path };
  const [, kind, bracketed, name, digits] =
    /^(udp|tcp):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]{1,253})):([1-9]\d{0,4})$/.exec(text) ?? [];
  const [host, port] = [bracketed ?? name ?? "", Number(digits)];
  const known = bracketed === undefined ? host !== "" : isIP(bracketed) === 6;
  if ((kind !== "udp" && kind !== "tcp") || !known || !(port <= 65_535)) throw new Error(`is no address; ${ADDRESS}`);
  return { kind, host, port };
}

/** An https URL without user or fragment. @throws Error with what to write */
export function parseWebhookUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol !== "https:") throw new Error("is no https:// URL; a key to it would travel in the clear");
  if (url.username !== "" || url.password !== "") throw new Error("holds a password; use secretFile to sign instead");
  return url.href;
}

/** The `anchor` section of daemon.yaml; the two helpers are those of the file's other sections. */
export function anchorSchema<Duration extends z.ZodType<number>>(
  every: Duration,
  text: <T>(parse: (value: string) => T) => z.ZodType<T>,
) {
  const path = z.string().min(1, "is empty; write a path");
  return z
    .strictObject({
      every,
      syslog: z.strictObject({ address: text(parseSyslogAddress) }).optional(),
      webhook: z
        .strictObject({ url: text(parseWebhookUrl), ca: path.optional(), secretFile: path.optional() })
        .optional(),
    })
    .refine(
      (anchor) => anchor.syslog !== undefined || anchor.webhook !== undefined,
      "names neither syslog nor webhook",
    );
}

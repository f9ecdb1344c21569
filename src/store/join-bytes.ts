import { Secret, secretBuffer } from "../secret.ts";

/** Text (UTF-8), secrets and bytes one after another, in a Buffer of its own. The caller wipes it. */
export function joinBytes(parts: readonly (string | Secret | Uint8Array)[]): Buffer {
  const bytes = secretBuffer(parts.reduce((sum, part) => sum + sizeOf(part), 0));
  let at = 0;
  for (const part of parts) {
    if (typeof part === "string") bytes.write(part, at, "utf8");
    else if (part instanceof Secret) part.use((own) => bytes.set(own, at));
    else bytes.set(part, at);
    at += sizeOf(part);
  }
  return bytes;
}

function sizeOf(part: string | Secret | Uint8Array): number {
  return typeof part === "string" ? Buffer.byteLength(part) : part.length;
}

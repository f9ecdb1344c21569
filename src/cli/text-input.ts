import { closeSync, openSync, readSync } from "node:fs";
import { usageError } from "./failure.ts";

/**
 * A text that is no secret, from a file or a pipe that has a path (`/dev/fd/63`).
 * @throws CliError with exit 2 when it is longer than `maxBytes`
 */
export function readTextFile(path: string, maxBytes: number): string {
  const bytes = Buffer.alloc(maxBytes + 1);
  const descriptor = openSync(path, "r");
  try {
    let length = 0;
    for (let got = 1; got > 0 && length < bytes.length; length += got) {
      got = readSync(descriptor, bytes, length, bytes.length - length, null);
    }
    return textOf(path, bytes.subarray(0, length), maxBytes);
  } finally {
    closeSync(descriptor);
  }
}

/** As `readTextFile`, to the end of stdin. */
export async function readTextStream(input: AsyncIterable<Buffer | string>, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of input) {
    const bytes = Buffer.from(chunk);
    chunks.push(bytes);
    length += bytes.length;
    if (length > maxBytes) break;
  }
  return textOf("stdin", Buffer.concat(chunks), maxBytes);
}

function textOf(what: string, bytes: Buffer, maxBytes: number): string {
  if (bytes.length <= maxBytes) return bytes.toString("utf8");
  throw usageError(`${what} is larger than ${maxBytes / 1024} KiB`, "is it the right file?");
}

import type { RawConnection } from "../support/raw-client.ts";

/** HTTP/2 frames written by hand (RFC 9113 section 4.1), for what a library would never send. */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 0x1;
const END_HEADERS = 0x4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A HEADERS frame whose fields are all literals without Huffman coding (RFC 7541 section 6.2.2). */
export function headersFrame(stream: number, fields: Readonly<Record<string, string>>, flags = 0): Buffer {
  const block = Object.entries(fields).map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), literal(name), literal(value)]),
  );
  return frame(FRAME.headers, END_HEADERS | flags, stream, Buffer.concat(block));
}

/** The preface and an empty SETTINGS frame. */
export function openingFrames(): Buffer {
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1"),
    frame(FRAME.settings, 0, 0, Buffer.alloc(0)),
  ]);
}

/** Waits for a frame that `wanted` accepts. @throws Error when the connection ends before */
export async function readFrame(connection: RawConnection, wanted: (frame: Frame) => boolean): Promise<Frame> {
  const reply = await connection.read((bytes) => framesIn(bytes).some(wanted));
  const found = framesIn(reply.bytes).find(wanted);
  if (!found) throw new Error(`no such frame; the wait ended with ${reply.ended}`);
  return found;
}

function framesIn(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    const [type = 0, flags = 0] = bytes.subarray(at + 3, at + 5);
    frames.push({ type, flags, stream: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + 9, end) });
    at = end;
  }
  return frames;
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  // RFC 7541 section 5.1; one more byte is enough for what tests send.
  return Buffer.concat([Buffer.from([127, bytes.length - 127]), bytes]);
}

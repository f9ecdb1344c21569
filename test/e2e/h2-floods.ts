import { END_STREAM, FRAME, frame, headersFrame } from "./h2-frames.ts";

/** Floods of HTTP/2 frames: what a client sends that only wants to keep the other side busy (threats G1, G2). */

const CANCEL = Buffer.from([0, 0, 0, 8]);

export interface Flood {
  /** The n-th piece of it, from 0. */
  readonly piece: (n: number) => Buffer;
  /** As what it is counted. */
  readonly reason: string;
  /** Exchanges that it may cost before it is over. */
  readonly exchanges: number;
}

const stream = (n: number): number => 2 * n + 1;

/** By name. `request` is what each stream asks, when the flood has streams. */
export function floodsOf(request: Readonly<Record<string, string>>): Readonly<Record<string, Flood>> {
  // Without its first nine bytes a HEADERS frame is a header block.
  const block = headersFrame(1, request).subarray(9);
  return {
    "rapid reset (CVE-2023-44487)": {
      piece: (n) =>
        Buffer.concat([headersFrame(stream(n), request, END_STREAM), frame(FRAME.reset, 0, stream(n), CANCEL)]),
      reason: "h2_session",
      exchanges: 600,
    },
    "streams without end": {
      piece: (n) => headersFrame(stream(n), request),
      reason: "h2_session",
      exchanges: 200,
    },
    "CONTINUATION (CVE-2024-27983)": {
      piece: (n) =>
        n === 0 ? frame(FRAME.headers, 0, 1, block) : frame(FRAME.continuation, 0, 1, Buffer.from([0, 1, 97, 1, 98])),
      reason: "h2_session",
      exchanges: 0,
    },
    "empty CONTINUATION": {
      piece: (n) => (n === 0 ? frame(FRAME.headers, 0, 1, block) : frame(FRAME.continuation, 0, 1, Buffer.alloc(0))),
      reason: "h2_session",
      exchanges: 0,
    },
    "empty DATA": {
      piece: (n) =>
        n === 0 ? headersFrame(1, { ...request, ":method": "POST" }) : frame(FRAME.data, 0, 1, Buffer.alloc(0)),
      reason: "h2_session",
      exchanges: 1,
    },
    PRIORITY: {
      piece: (n) => frame(FRAME.priority, 0, stream(n), Buffer.from([0, 0, 0, 0, 1])),
      reason: "h2_session",
      exchanges: 0,
    },
    "resets of streams that never were": {
      piece: (n) => frame(FRAME.reset, 0, stream(n), CANCEL),
      reason: "h2_session",
      exchanges: 0,
    },
    "frames of no known type": {
      piece: () => frame(0x77, 0, 0, Buffer.alloc(8)),
      reason: "h2_session",
      exchanges: 0,
    },
    "SETTINGS with many entries": {
      piece: () => frame(FRAME.settings, 0, 0, Buffer.alloc(6 * 40)),
      reason: "h2_session",
      exchanges: 0,
    },
    PING: { piece: () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)), reason: "h2_control_flood", exchanges: 0 },
    SETTINGS: { piece: () => frame(FRAME.settings, 0, 0, Buffer.alloc(0)), reason: "h2_control_flood", exchanges: 0 },
    WINDOW_UPDATE: {
      piece: () => frame(FRAME.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1])),
      reason: "connection_noise",
      exchanges: 0,
    },
  };
}

import { constants, type ServerHttp2Session } from "node:http2";

/**
 * Frames of an HTTP/2 session that cost work and ask for nothing: PING, SETTINGS, GOAWAY (threats G1). Floods of
 * others (resets, CONTINUATION, empty DATA, PRIORITY, unknown types) are ended by nghttp2's own counts.
 */

/** A thousand in ten seconds: a client that measures its round trip with pings stays far below. */
const MOST_FRAMES = 1_000;
const WINDOW_MS = 10_000;

/** @param flooded called once, before the session is told to calm down and destroyed */
export function limitControlFrames(session: ServerHttp2Session, flooded: () => void): void {
  let frames = 0;
  let windowEndsMs = 0;
  const count = (): void => {
    const nowMs = performance.now();
    if (nowMs >= windowEndsMs) {
      windowEndsMs = nowMs + WINDOW_MS;
      frames = 0;
    }
    frames++;
    if (frames <= MOST_FRAMES || session.destroyed) return;
    flooded();
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  };
  session.on("ping", count).on("remoteSettings", count).on("goaway", count);
}

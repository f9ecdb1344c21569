/** How long a client may take for each step before its connection is closed, in milliseconds. */
export interface Waits {
  /** For a whole request head, from the connection's start or the end of the last request. */
  readonly headMs: number;
  /** For the TLS handshake inside a CONNECT, and for the first bytes of a tunnel. */
  readonly handshakeMs: number;
  /** For sending or taking next to nothing in the middle of an exchange. */
  readonly slowMs: number;
}

export const WAITS: Waits = { headMs: 10_000, handshakeMs: 5_000, slowMs: 30_000 };

import type { Server } from "node:http";

/** What has been started, closed in reverse order. */
export class Parts {
  readonly #closers: (() => unknown)[] = [];

  keep<T extends { close(): unknown }>(part: T): T {
    this.#closers.push(() => part.close());
    return part;
  }

  /** An HTTP server: its connections are cut when it closes. */
  keepServer(server: Server): void {
    this.#closers.push(() => {
      server.close();
      server.closeAllConnections();
    });
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

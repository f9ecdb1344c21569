import type { Server } from "node:http";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Listens on `at`; resolves with where it really listens, which differs for port 0. Rejects with the error of node:net. */
export function listen(server: Server, at: Address): Promise<Address> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.host, () => {
      server.removeListener("error", reject);
      const address = server.address();
      resolve(typeof address === "object" && address ? { host: address.address, port: address.port } : at);
    });
  });
}

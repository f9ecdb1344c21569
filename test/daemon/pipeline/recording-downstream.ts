import type { Duplex } from "node:stream";
import type { Downstream, Fields, Incoming } from "../../../src/daemon/pipeline/exchange.ts";

/** A downstream that keeps what it is told, as lines. */
export class RecordingDownstream implements Downstream {
  headSent = false;
  readonly calls: string[] = [];
  readonly body: Buffer[] = [];
  #gone: (() => void)[] = [];

  sendInformational(status: number): void {
    this.calls.push(`interim ${status}`);
  }

  sendContinue(): void {
    this.calls.push("continue");
  }

  sendHead(status: number, _reason: string, fields: Fields, reuse: boolean): void {
    this.headSent = true;
    const code = fields[fields.indexOf("Sidekey-Error") + 1] ?? "";
    this.calls.push(`head ${status} ${code} ${reuse ? "keep" : "close"}`);
  }

  write(chunk: Buffer): boolean {
    this.body.push(chunk);
    return true;
  }

  onDrain(): void {}

  end(): void {
    this.calls.push("end");
  }

  abort(): void {
    this.calls.push("abort");
  }

  onClose(gone: () => void): void {
    this.#gone.push(gone);
  }

  switchProtocols(): Duplex {
    throw new Error("no socket");
  }

  /** The client goes away. */
  leave(): void {
    for (const gone of this.#gone) gone();
  }
}

export function incomingTo(downstream: Downstream, changes: Partial<Incoming> = {}): Incoming {
  return {
    form: "absolute",
    method: "GET",
    fields: [],
    parse: () => {
      throw new Error("not parsed in this test");
    },
    upgradeHead: null,
    remoteAddress: "127.0.0.1",
    connectAuthorization: null,
    downstream,
    arrivedAt: performance.now(),
    ...changes,
  };
}

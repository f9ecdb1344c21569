import { request } from "node:http";
import { join } from "node:path";

export interface ControlAnswer {
  readonly status: number;
  readonly text: string;
}

/** One call to the daemon's own socket in its data directory, as the CLI makes it. */
export function controlCall(dataDir: string, method: string, path: string): Promise<ControlAnswer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: join(dataDir, "daemon.sock"), method, path }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.once("error", reject).end();
  });
}

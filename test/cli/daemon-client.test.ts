import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import { describe, type TestContext, test } from "node:test";
import { createDaemonClient, daemonSocketPath } from "../../src/cli/daemon-client.ts";
import { CliError } from "../../src/cli/failure.ts";
import { tempDir } from "../support/temp-dir.ts";

async function daemonThat(t: TestContext, answers: RequestListener): Promise<ReturnType<typeof createDaemonClient>> {
  const dataDir = tempDir(t);
  const server = createServer(answers);
  await new Promise<void>((resolve) => server.listen(daemonSocketPath(dataDir), resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return createDaemonClient(dataDir);
}

describe("daemon client", () => {
  test("without a daemon every call says how to start one", async (t) => {
    const client = createDaemonClient(tempDir(t));
    for (const call of [client.status(), client.reload()]) {
      await assert.rejects(call, (error: CliError) => error.exitCode === 1 && /sidekey up/.test(error.nextStep ?? ""));
    }
  });

  test("a refused reload is an answer, anything else than JSON is not", async (t) => {
    const client = await daemonThat(t, (request, response) => {
      response.statusCode = request.method === "POST" ? 422 : 200;
      response.end(request.method === "POST" ? '{"ok":false,"problems":["policy.yaml:1: bad"]}' : "<html>");
    });
    assert.deepEqual(await client.reload(), { ok: false, problems: ["policy.yaml:1: bad"] });
    await assert.rejects(client.status(), CliError);
  });

  test("an endless answer is cut off", async (t) => {
    const client = await daemonThat(t, (_request, response) => {
      const write = (): boolean => response.write(Buffer.alloc(64 * 1024, 0x20)) && !response.destroyed && write();
      response.on("drain", write);
      write();
    });
    await assert.rejects(client.status(), /too long/);
  });

  test("follow gives whole lines however they are cut, until it is stopped", async (t) => {
    const client = await daemonThat(t, async (_request, response) => {
      for (const part of ['{"status":2', '00}\n\n{"status":403}\nnot json\n{"sta', 'tus":"ä"}\n']) {
        response.write(part);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
    const stop = new AbortController();
    const seen: unknown[] = [];
    for await (const event of client.follow(stop.signal)) {
      seen.push(event.status);
      if (seen.length === 3) stop.abort();
    }
    assert.deepEqual(seen, [200, 403, "ä"]);
  });

  test("follow says so when the daemon stops in the middle", async (t) => {
    const client = await daemonThat(t, (_request, response) => {
      response.write('{"status":200}\n', () => response.destroy());
    });
    const follow = async (): Promise<void> => {
      for await (const _event of client.follow(new AbortController().signal));
    };
    await assert.rejects(follow(), /the daemon stopped/);
  });
});

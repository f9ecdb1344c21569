import assert from "node:assert/strict";
import type {
  AnswerHead,
  RequestFacts,
  RequestHead,
  UsageDialect,
  UsageFigure,
} from "../../../src/providers/usage/usage.ts";

/** A call as a test writes it down. */
export interface Call {
  readonly method?: string;
  readonly path: string;
  readonly query?: string;
  /** JSON, unless `requestType` says otherwise; none for null. */
  readonly request?: unknown;
  readonly requestType?: string;
  readonly status?: number;
  readonly type?: string;
  readonly fields?: Readonly<Record<string, string>>;
  readonly answer: string | Buffer;
  readonly complete?: boolean;
}

export const EVENTS = "text/event-stream; charset=utf-8";
const JSON_TYPE = "application/json";

export function headOf(call: Omit<Call, "answer">): RequestHead {
  const contentType = call.requestType ?? (call.request === undefined ? "" : JSON_TYPE);
  return { method: call.method ?? "POST", path: call.path, query: call.query ?? "", contentType };
}

export function factsOf(dialect: UsageDialect, call: Omit<Call, "answer">): RequestFacts {
  const head = headOf(call);
  if (call.request === undefined) return dialect.readRequest(head, null);
  const text = typeof call.request === "string" ? call.request : JSON.stringify(call.request);
  const bytes = Buffer.from(text);
  const body = dialect.needsBody(head) ? { bytes, whole: true, length: bytes.length } : null;
  return dialect.readRequest(head, body);
}

export function answerHead(call: Call): AnswerHead {
  const fields = call.fields ?? {};
  return { status: call.status ?? 200, contentType: call.type ?? JSON_TYPE, field: (name) => fields[name] ?? null };
}

/** The figure of a call whose answer comes in pieces that end at `splits`. */
export function figureAt(dialect: UsageDialect, call: Call, splits: readonly number[] = []): UsageFigure {
  const reader = dialect.reader(factsOf(dialect, call), answerHead(call));
  const bytes = Buffer.from(call.answer);
  let from = 0;
  for (const to of [...splits, bytes.length]) {
    if (to > from) reader.data(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  return reader.end(call.complete ?? true);
}

/** The figure of a call, which has to be the same for every split of its answer in two and in single bytes. */
export function figureOf(dialect: UsageDialect, call: Call): UsageFigure {
  const whole = figureAt(dialect, call);
  const bytes = Buffer.from(call.answer);
  for (let cut = 1; cut < bytes.length; cut++)
    assert.deepEqual(figureAt(dialect, call, [cut]), whole, `split at ${cut}`);
  assert.deepEqual(
    figureAt(
      dialect,
      call,
      Array.from(bytes, (_, at) => at),
    ),
    whole,
  );
  return whole;
}

/** The same stream with other line ends, and with what proxies and providers put between events. */
export function variantsOf(stream: string): string[] {
  const noisy = stream.replaceAll("\n\n", "\n\n: keep-alive\n\nevent: ping\n\n");
  return [stream, stream.replaceAll("\n", "\r\n"), stream.replaceAll("\n", "\r"), noisy, `\ufeff${stream}`];
}

/** Server-sent events of these data: JSON of values, or text as it is. */
export function eventsOf(...data: readonly unknown[]): string {
  return data.map((each) => `data: ${typeof each === "string" ? each : JSON.stringify(each)}\n\n`).join("");
}

/** Events that have a name too, which is the `type` of their data. */
export function namedEventsOf(...data: readonly { readonly type: string }[]): string {
  return data.map((each) => `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`).join("");
}

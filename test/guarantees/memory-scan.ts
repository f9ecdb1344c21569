import { closeSync, openSync, readFileSync, readSync } from "node:fs";

/** One place in a process's memory where a needle was found. */
export interface MemoryHit {
  readonly needle: string;
  readonly at: string;
  /** `[heap]`, `[anon]` or the mapped file. */
  readonly mapping: string;
  /** What surrounds it, unprintable bytes as dots. */
  readonly context: string;
}

const CHUNK = 4 * 1024 * 1024;
const MAX_HITS = 200;

/** Whether this machine lets a test read the memory of its own child. */
export function memoryIsReadable(pid: number): boolean {
  try {
    closeSync(openSync(`/proc/${pid}/mem`, "r"));
    return true;
  } catch {
    return false;
  }
}

/** Searches every readable and writable mapping of `pid`. Needles must be shorter than 1 KiB. */
export function scanMemory(pid: number, needles: ReadonlyMap<string, Buffer>): { hits: MemoryHit[]; bytes: number } {
  const hits: MemoryHit[] = [];
  const overlap = Math.max(...[...needles.values()].map((needle) => needle.length)) - 1;
  const buffer = Buffer.allocUnsafeSlow(CHUNK + overlap);
  let bytes = 0;
  const fd = openSync(`/proc/${pid}/mem`, "r");
  try {
    for (const { start, end, mapping } of writableMappings(pid)) {
      for (let at = start; at < end; at += CHUNK) {
        const got = readAt(fd, buffer, at, Math.min(CHUNK + overlap, end - at));
        bytes += got;
        for (const [name, needle] of needles) find(buffer.subarray(0, got), name, needle, { at, mapping }, hits);
      }
    }
  } finally {
    closeSync(fd);
    // The scan must not become a copy itself, should its own memory ever be scanned.
    buffer.fill(0);
  }
  return { hits, bytes };
}

function writableMappings(pid: number): { start: number; end: number; mapping: string }[] {
  return readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) (rw..) \S+ \S+ \S+ *(.*)$/.exec(line);
      if (!match) return [];
      const [, start = "0", end = "0", , path = ""] = match;
      return [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), mapping: path || "[anon]" }];
    });
}

/** Bytes read; a mapping may have gone since it was listed. */
function readAt(fd: number, buffer: Buffer, at: number, length: number): number {
  try {
    return readSync(fd, buffer, 0, length, at);
  } catch {
    return 0;
  }
}

function find(
  chunk: Buffer,
  needle: string,
  bytes: Buffer,
  { at, mapping }: { at: number; mapping: string },
  hits: MemoryHit[],
): void {
  for (let from = chunk.indexOf(bytes); from !== -1 && hits.length < MAX_HITS; from = chunk.indexOf(bytes, from + 1)) {
    // The overlap belongs to the next chunk as well.
    if (from >= CHUNK) return;
    const around = chunk.toString("latin1", Math.max(0, from - 160), from + bytes.length + 64);
    hits.push({ needle, mapping, at: (at + from).toString(16), context: around.replace(/[^ -~]/g, ".") });
  }
}

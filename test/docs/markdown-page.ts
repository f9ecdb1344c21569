import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

export interface MarkdownLink {
  /** File or folder inside the repository, from its root. */
  readonly path: string;
  /** Without `#`; null when the link is to the whole page. */
  readonly anchor: string | null;
}

export function readPage(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Links of a page to other files of the repository; links to the web are left out. */
export function localLinks(path: string): readonly MarkdownLink[] {
  const text = readPage(path).replace(/^```[\s\S]*?^```/gm, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = "", anchor] = target.split("#");
      const inRepository = file === "" ? path : relative(ROOT, join(ROOT, dirname(path), file));
      return { path: inRepository, anchor: anchor ?? null };
    });
}

/** The anchors that GitHub makes of a page's headings. */
export function anchors(path: string): ReadonlySet<string> {
  const headings = readPage(path)
    .replace(/^```[\s\S]*?^```/gm, "")
    .matchAll(/^#{1,6} +(.+)$/gm);
  return new Set(
    [...headings].map(([, title = ""]) =>
      title
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** Lines of the `sh` blocks of a page, continued lines joined, comments and blank lines left out. */
export function shellLines(path: string): readonly string[] {
  return [...readPage(path).matchAll(/^```sh\n([\s\S]*?)^```/gm)]
    .flatMap(([, block = ""]) => block.replaceAll("\\\n", " ").split("\n"))
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/** The arguments of every `sidekey ...` in a page: in `sh` blocks and between backticks. */
export function sidekeyCalls(path: string): readonly string[] {
  const text = readPage(path);
  const inline = [...text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/`(?:bin\/)?sidekey ([^`]*)`/g)];
  const shell = shellLines(path).flatMap((line) => [...line.matchAll(/(?:^|[|;&(] *)(?:bin\/)?sidekey +([^|;&)#]*)/g)]);
  return [...inline, ...shell].map(([, call = ""]) => call.replace(/\s+/g, " ").trim());
}

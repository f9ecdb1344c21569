import type { Glob } from "../providers/glob.ts";

/**
 * Whether some path matches both globs, exactly: two routes are refused only when a real request could hit both.
 * Cost: the product of the two patterns' lengths.
 */
export function globsOverlap(a: Glob, b: Glob): boolean {
  const left = a.source.slice(1).split("/");
  const right = b.source.slice(1).split("/");
  return walk(left.length, right.length, (i, j, from) => {
    const one = left[i];
    const other = right[j];
    if (one === undefined || other === undefined) return one === other || (one ?? other) === undefined;
    // A final ** takes whatever is left, as long as something is.
    if ((one === "**" && i === left.length - 1) || (other === "**" && j === right.length - 1)) return true;
    if (one === "**" || other === "**") return from(i + 1, j) || from(i, j + 1);
    return segmentsOverlap(one, other) && from(i + 1, j + 1);
  });
}

function segmentsOverlap(a: string, b: string): boolean {
  // A segment that is only * must not be empty; everywhere else * may stand for nothing.
  if (a === "*") return b !== "";
  if (b === "*") return a !== "";
  return walk(a.length, b.length, (i, j, from) => {
    if (i === a.length && j === b.length) return true;
    if (a[i] === "*") return from(i + 1, j) || (j < b.length && from(i, j + 1));
    if (b[j] === "*") return from(i, j + 1) || (i < a.length && from(i + 1, j));
    return i < a.length && a[i] === b[j] && from(i + 1, j + 1);
  });
}

type Step = (i: number, j: number, from: (i: number, j: number) => boolean) => boolean;

/** Runs `step` over the grid from its far corner, so that nothing recurses; `from` reads what is known. */
function walk(rows: number, columns: number, step: Step): boolean {
  const known = new Uint8Array((rows + 1) * (columns + 1));
  const from = (i: number, j: number) => i <= rows && j <= columns && known[i * (columns + 1) + j] === 1;
  for (let i = rows; i >= 0; i--) {
    for (let j = columns; j >= 0; j--) known[i * (columns + 1) + j] = step(i, j, from) ? 1 : 0;
  }
  return from(0, 0);
}

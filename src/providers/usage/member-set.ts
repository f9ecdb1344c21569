/** Which members of a JSON document are read, by their paths. */

/** A step of a path: any element of an array. */
export const EACH = "*";
/** A step of a path: any member of an object that no other path names. */
export const OTHER = "{*}";

export interface Member {
  readonly path: readonly string[];
  /** `value`: its bytes, the last one seen. `size`: the lengths of all strings. `count`: how many values there were. */
  readonly take: "value" | "size" | "count";
  /** Counts only values of exactly these bytes. */
  readonly equals: string | null;
}

export const valueAt = (...path: readonly string[]): Member => ({ path, take: "value", equals: null });
export const sizeAt = (...path: readonly string[]): Member => ({ path, take: "size", equals: null });
export const countAt = (...path: readonly string[]): Member => ({ path, take: "count", equals: null });
/** @param text a string value, without its quotes */
export const countOf = (text: string, ...path: readonly string[]): Member => ({
  path,
  take: "count",
  equals: JSON.stringify(text),
});

/** A place on the way to members. */
export interface MemberNode {
  readonly id: number;
  readonly named: Map<string, MemberNode>;
  each: MemberNode | null;
  other: MemberNode | null;
  /** Members whose path ends here, and those of them and below that hold a value. */
  readonly members: number[];
  readonly values: number[];
  captures: boolean;
}

/** Paths that are read together, compiled once. */
export interface MemberSet<K extends string> {
  readonly index: ReadonlyMap<K, number>;
  readonly members: readonly Member[];
  readonly root: MemberNode;
}

/** @param known names at the top, or whole paths, that are read for nothing but not to be among the others */
export function memberSet<K extends string>(
  members: Readonly<Record<K, Member>>,
  known: readonly (string | readonly string[])[] = [],
): MemberSet<K> {
  let nodes = 0;
  const newNode = (): MemberNode => {
    return { id: nodes++, named: new Map(), each: null, other: null, members: [], values: [], captures: false };
  };
  const root = newNode();
  const index = new Map<K, number>();
  const list: Member[] = [];
  for (const [name, member] of Object.entries(members) as [K, Member][]) {
    const at = list.push(member) - 1;
    index.set(name, at);
    let node = root;
    for (const step of member.path) {
      if (member.take === "value") node.values.push(at);
      node = childOf(node, step, newNode);
    }
    node.members.push(at);
    if (member.take === "value") node.values.push(at);
    if (member.take === "value" || member.equals !== null) node.captures = true;
  }
  for (const path of known) [path].flat().reduce((node, step) => childOf(node, step, newNode), root);
  return { index, members: list, root };
}

function childOf(node: MemberNode, step: string, newNode: () => MemberNode): MemberNode {
  if (step === EACH) node.each ??= newNode();
  else if (step === OTHER) node.other ??= newNode();
  else if (!node.named.has(step)) node.named.set(step, newNode());
  const child = step === EACH ? node.each : step === OTHER ? node.other : node.named.get(step);
  if (!child) throw new Error(`internal: no place for ${step}`);
  return child;
}

/** Names in a text, for long lists. */
export function wordsOf(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** Which members of a JSON document are read, by their paths. */

import { jsonText } from "./json-string.ts";
import { BACKSLASH, isSame } from "./json-syntax.ts";

/** A step of a path: any element of an array. */
export const EACH = "*";
/** A step of a path: any member of an object that no other path names. */
export const OTHER = "{*}";

export interface Member {
  /** One place, or several that mean the same. */
  readonly paths: readonly (readonly string[])[];
  /** `value`: its bytes, the last one seen. `size`: the lengths of all strings. `count`: how many values there were. */
  readonly take: "value" | "size" | "count";
  /** Counts only values that are exactly one of these bytes. */
  readonly equals: readonly Buffer[] | null;
}

export const valueAt = (...path: readonly string[]): Member => ({ paths: [path], take: "value", equals: null });
export const sizeAt = (...path: readonly string[]): Member => ({ paths: [path], take: "size", equals: null });
export const countAt = (...path: readonly string[]): Member => ({ paths: [path], take: "count", equals: null });
/** @param texts string values, without their quotes */
export const countOf = (texts: string | readonly string[], ...path: readonly string[]): Member => ({
  paths: [path],
  take: "count",
  equals: [texts].flat().map((text) => Buffer.from(JSON.stringify(text))),
});
/** The same of several places: the last value of all, the sum of sizes, the sum of numbers. */
export function anyOf(...members: readonly Member[]): Member {
  const [first] = members;
  if (!first) throw new Error("internal: no member");
  return { ...first, paths: members.flatMap(({ paths }) => paths) };
}

/** A place on the way to members. */
export interface MemberNode {
  readonly id: number;
  readonly named: Map<string, MemberNode>;
  /** The same by the length of their names, to be compared as bytes. */
  readonly byLength: { readonly name: Buffer; readonly node: MemberNode }[][];
  each: MemberNode | null;
  other: MemberNode | null;
  /** Members whose path ends here, and those of them and below that hold a value. */
  readonly members: number[];
  readonly values: number[];
  /** Whether the bytes of a value are wanted, and whether an object or an array is followed inside. */
  captures: boolean;
  opensObject: boolean;
}

/** Paths that are read together, compiled once. */
export interface MemberSet<K extends string> {
  readonly index: ReadonlyMap<K, number>;
  readonly members: readonly Member[];
  readonly root: MemberNode;
}

/** The names of a set. */
export type NameOf<S> = S extends MemberSet<infer K> ? K : never;

/** @param known names at the top, or whole paths, that are read for nothing but not to be among the others */
export function memberSet<K extends string>(
  members: Readonly<Record<K, Member>>,
  known: readonly (string | readonly string[])[] = [],
): MemberSet<K> {
  const nodes = new Nodes();
  const index = new Map<K, number>();
  const list: Member[] = [];
  for (const [name, member] of Object.entries(members) as [K, Member][]) {
    const at = list.push(member) - 1;
    index.set(name, at);
    for (const path of member.paths) {
      let node = nodes.root;
      if (member.take === "value") node.values.push(at);
      for (const step of path) {
        node = nodes.childOf(node, step);
        if (member.take === "value") node.values.push(at);
      }
      node.members.push(at);
      if (member.take === "value" || member.equals !== null) node.captures = true;
    }
  }
  for (const path of known) [path].flat().reduce((node, step) => nodes.childOf(node, step), nodes.root);
  return { index, members: list, root: nodes.root };
}

class Nodes {
  #count = 0;
  readonly root = this.#add();

  #add(): MemberNode {
    const id = this.#count++;
    const places = { named: new Map(), byLength: [], each: null, other: null, members: [], values: [] };
    return { id, ...places, captures: false, opensObject: false };
  }

  childOf(node: MemberNode, step: string): MemberNode {
    if (step === EACH) {
      node.each ??= this.#add();
      return node.each;
    }
    node.opensObject = true;
    if (step === OTHER) {
      node.other ??= this.#add();
      return node.other;
    }
    const known = node.named.get(step);
    if (known) return known;
    const child = this.#add();
    node.named.set(step, child);
    const same = node.byLength[step.length] ?? [];
    node.byLength[step.length] = [...same, { name: Buffer.from(step), node: child }];
    return child;
  }
}

const NO_CHILDREN: MemberNode["byLength"][number] = [];

/** The child of a name between `from` and `to`, however the name is written. */
export function childNamed(node: MemberNode, bytes: Buffer, from: number, to: number): MemberNode | undefined {
  for (const child of node.byLength[to - from] ?? NO_CHILDREN) {
    if (isSame(bytes, from, to, child.name)) return child.node;
  }
  for (let at = from; at < to; at++) {
    if (bytes[at] === BACKSLASH) return node.named.get(jsonText(bytes.subarray(from, to)) ?? "");
  }
  return undefined;
}

/** Names in a text, for long lists. */
export function wordsOf(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

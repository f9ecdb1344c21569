/** Who had more, or fewer, turns than its weight says, by name. The sum over all is always 0. */
export type Turns = Map<string, number>;

interface Member {
  readonly name: string;
  readonly weight: number;
}

/**
 * Whose turn it is: smooth weighted round-robin. Each member earns its weight at every turn, the richest is taken and
 * pays what all have earned. So shares are exact over a round, the turns of one member lie apart, and members that
 * come and go leave the others' shares among themselves as they are.
 * @param members at least one, weights of at least 1
 */
export function takeTurn<T extends Member>(turns: Turns, members: readonly [T, ...T[]]): T {
  let [taken] = members;
  let richest = Number.NEGATIVE_INFINITY;
  let earned = 0;
  for (const member of members) {
    const credit = (turns.get(member.name) ?? 0) + member.weight;
    turns.set(member.name, credit);
    earned += member.weight;
    if (credit <= richest) continue;
    richest = credit;
    taken = member;
  }
  turns.set(taken.name, richest - earned);
  return taken;
}

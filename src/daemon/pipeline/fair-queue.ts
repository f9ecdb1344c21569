/** Whoever can wait in a queue. */
export interface Queued {
  readonly client: string;
  /** Order of arrival, over all queues. */
  readonly number: number;
}

interface Share<W> {
  /** The turn that is its next one. */
  turn: number;
  /** In order of arrival. */
  readonly waiters: W[];
}

/**
 * A queue in which clients take turns: one waiter of each in a round, those of one client in order of arrival. Between
 * clients with the same number of turns the one whose first waiter came earlier goes first. A client that comes
 * new is served in the round that is going on, however many others wait; one that leaves and comes back keeps its place
 * in the rounds, so that nobody gains by queueing one request at a time. (Start-time fair queueing with requests of one size.)
 */
export class FairQueue<W extends Queued> {
  readonly #shares = new Map<string, Share<W>>();
  /** The turn that is going on. */
  #turn = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  sizeOf(client: string): number {
    return this.#shares.get(client)?.waiters.length ?? 0;
  }

  has(waiter: W): boolean {
    return this.#shares.get(waiter.client)?.waiters.includes(waiter) ?? false;
  }

  /** Puts it where its arrival places it among its client's. */
  add(waiter: W): void {
    const { waiters } = this.#shareOf(waiter.client);
    let at = waiters.length;
    while (at > 0 && (waiters[at - 1]?.number ?? 0) > waiter.number) at--;
    waiters.splice(at, 0, waiter);
    this.#size++;
  }

  /** False when it was not there. */
  remove(waiter: W): boolean {
    const waiters = this.#shares.get(waiter.client)?.waiters ?? [];
    const at = waiters.indexOf(waiter);
    if (at === -1) return false;
    waiters.splice(at, 1);
    this.#size--;
    return true;
  }

  /** Whose turn it is; undefined when nobody waits. */
  first(): W | undefined {
    let first: { readonly turn: number; readonly waiter: W } | null = null;
    for (const { turn, waiters } of this.#shares.values()) {
      const [waiter] = waiters;
      if (waiter === undefined) continue;
      if (first === null || turn < first.turn || (turn === first.turn && waiter.number < first.waiter.number)) {
        first = { turn, waiter };
      }
    }
    return first?.waiter;
  }

  /** Whether it would be this one's turn if it waited here. */
  isTurnOf({ client, number }: Queued): boolean {
    const own = this.#shares.get(client);
    if (own?.waiters[0] !== undefined && own.waiters[0].number < number) return false;
    const first = this.first();
    if (first === undefined || first.client === client) return true;
    const turn = Math.max(own?.turn ?? 0, this.#turn);
    const ahead = this.#shares.get(first.client)?.turn ?? 0;
    return turn < ahead || (turn === ahead && number < first.number);
  }

  /** Notes that the client has had a turn. */
  tookTurn(client: string): void {
    const share = this.#shareOf(client);
    if (share.turn > this.#turn) {
      this.#turn = share.turn;
      // Those without a waiter whose next turn is this one are as good as new.
      for (const [name, { turn, waiters }] of this.#shares) {
        if (waiters.length === 0 && turn <= this.#turn && name !== client) this.#shares.delete(name);
      }
    }
    share.turn++;
  }

  #shareOf(client: string): Share<W> {
    const existing = this.#shares.get(client);
    if (existing !== undefined) {
      if (existing.waiters.length === 0) existing.turn = Math.max(existing.turn, this.#turn);
      return existing;
    }
    const share: Share<W> = { turn: this.#turn, waiters: [] };
    this.#shares.set(client, share);
    return share;
  }
}

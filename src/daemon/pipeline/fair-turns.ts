/**
 * Lets exchanges begin a few at a time, in turn over the clients. The event loop handles everything that has arrived
 * before it comes round again; when one client sends hundreds of requests at once, everybody else's next byte would
 * wait for all of them. Nothing is refused here and nothing gets slower on the whole: the same work is done in smaller
 * portions.
 */

/** Exchanges that may begin in one round of the event loop; each costs about a tenth of a millisecond. */
const PER_TURN = 8;

/** One client's exchanges that wait for their turn, in order of arrival. */
export interface TurnQueue {
  readonly waiting: (() => void)[];
}

export class FairTurns {
  readonly #nextTurn: (run: () => void) => void;
  /** Clients with somebody waiting, the one whose turn is next first. */
  readonly #ring: TurnQueue[] = [];
  #begun = 0;
  /** Until the next round nobody begins. */
  #shut = false;

  /** @param nextTurn calls back in the next round of the event loop: `setImmediate` */
  constructor(nextTurn: (run: () => void) => void) {
    this.#nextTurn = nextTurn;
  }

  /** Null when the exchange may begin at once, which spares the promise; else resolves when its turn has come. */
  take(queue: TurnQueue): Promise<void> | null {
    if (!this.#shut) {
      this.#begun++;
      if (this.#begun >= PER_TURN) this.#shutUntilNextTurn();
      return null;
    }
    if (queue.waiting.length === 0) this.#ring.push(queue);
    return new Promise((resolve) => queue.waiting.push(resolve));
  }

  #shutUntilNextTurn(): void {
    this.#shut = true;
    this.#nextTurn(() => this.#turn());
  }

  #turn(): void {
    this.#begun = 0;
    while (this.#begun < PER_TURN) {
      const queue = this.#ring.shift();
      if (queue === undefined) {
        this.#shut = false;
        return;
      }
      const begin = queue.waiting.shift();
      if (queue.waiting.length > 0) this.#ring.push(queue);
      this.#begun++;
      begin?.();
    }
    this.#shutUntilNextTurn();
  }
}

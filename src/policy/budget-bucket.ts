import { readBudgetState, type Slice, writeBudgetState } from "./budget-state.ts";
import { WarnedLevels } from "./budget-warning.ts";
import type { Calendars } from "./calendar.ts";
import type { LimitSpec } from "./compile.ts";

/** Uses within this part of a period are kept as one, and forgotten together with the last of them. */
const SLICES_PER_PERIOD = 120;
/** Reservations whose leases end within this part of a lease are exported as one. */
const EXPORTED_PER_LEASE = 1000;
/** A calendar's period is at most this much longer than `periodMs` says: two hours of clock changes. */
const CALENDAR_SLACK_US = 2 * 3_600_000_000;
/** Sums stay exact: no more than this is counted, four times what the largest limit holds. */
const MAX_USED = 4e15;

/** What a call in flight holds of one budget. */
export interface Held {
  readonly amount: number;
  /** From then on the amount counts as used, then, whether or not the call settles. */
  readonly deadlineUs: number;
  lapsed: boolean;
}

/** What all budgets share. */
export interface BudgetRules {
  readonly calendars: Calendars;
  readonly leaseUs: number;
}

/** What settling a call has shown. */
export interface BudgetSettled {
  /** By how much the call has used more than it held. */
  readonly over: number;
  /** Per cents whose level this passed and that are to be told now. */
  readonly warn: readonly number[];
  /** The limit that they are per cents of. */
  readonly spec: LimitSpec;
}

/** The part of a budget that counts at one moment. */
interface View {
  readonly timeUs: number;
  /** What was used then or earlier does not count any more. */
  readonly cutoffUs: number;
  /** End of a calendar's period; null when the window slides. */
  readonly endUs: number | null;
  readonly used: number;
  readonly reserved: number;
}

/**
 * Counter of a `tokens` or `usd` limit. A call counts with what it holds from when it is reserved until it is settled,
 * and then with what it has used, at the time of the settling. So whichever moment of a call its provider books it at,
 * no window holds more than the limit, as long as calls do not use more than they held:
 *
 * - a window that slides: none of length P. Uses are kept in slices that are forgotten whole, so that up to P/120 more counts
 * - a calendar's period: none. A call that runs over its edge counts in both
 *
 * What is never settled counts as used at the end of its lease. A late figure adds what it has in excess.
 *
 * Time comes in and must not go back; if it does, the bucket stays at the latest it has seen, and so in its period.
 */
export class BudgetBucket {
  readonly #rules: BudgetRules;
  /** In order of time. */
  readonly #slices: Slice[] = [];
  /** Sum of the slices. */
  #used = 0;
  /** In order of their deadlines, because all leases are of one length and the bucket's clock does not go back. */
  readonly #open = new Set<Held>();
  #reserved = 0;
  #latestUs = Number.NEGATIVE_INFINITY;
  /** The limit as it was at the last reservation. */
  #spec: LimitSpec | null = null;
  /** The one before, if its window was another one: calls that began under it may still reserve. */
  #former: { readonly spec: LimitSpec; readonly untilUs: number } | null = null;
  #sliding = true;
  #keptUs = 1;
  #warned = new WarnedLevels();
  /** The exported state, until something changes. */
  #text: string | null = null;

  constructor(rules: BudgetRules) {
    this.#rules = rules;
  }

  /**
   * Earliest time at which `amount` more fits; a time not after `nowUs` means now, null that a call in flight has to
   * settle first. Changes nothing.
   */
  readyAt(spec: LimitSpec, amount: number, nowUs: number): number | null {
    const view = this.#view(spec, nowUs);
    let excess = view.used + view.reserved + amount - spec.count;
    if (excess <= 0) return nowUs;
    if (view.reserved + amount > spec.count) return null;
    if (view.endUs !== null) return view.endUs;
    for (const { atUs, amount: freed } of this.#counted(view)) {
      excess -= freed;
      if (excess <= 0) return atUs + spec.periodMs * 1000;
    }
    return null;
  }

  /** Holds `amount` for a call; only right when `readyAt` says now. What the limit is now holds for all settling. */
  reserve(spec: LimitSpec, amount: number, nowUs: number): Held {
    if (this.#spec !== null && !sameWindow(this.#spec, spec)) {
      this.#former = { spec: this.#spec, untilUs: Math.max(nowUs, this.#latestUs) + this.#rules.leaseUs };
    }
    this.#spec = spec;
    const { timeUs } = this.#moveTo(spec, nowUs);
    const held: Held = { amount, deadlineUs: timeUs + this.#rules.leaseUs, lapsed: false };
    this.#open.add(held);
    this.#reserved += amount;
    return held;
  }

  /** @param used what the call has really used; null: nobody knows, so what it held stands */
  settle(held: Held, used: number | null, nowUs: number): BudgetSettled {
    const spec = this.#lastSpec();
    const { timeUs, cutoffUs } = this.#moveTo(spec, nowUs);
    const before = this.#former === null ? this.#used : this.#view(spec, timeUs).used;
    const real = used ?? held.amount;
    this.#free(held);
    const stillCounted = held.lapsed && held.deadlineUs > cutoffUs ? held.amount : 0;
    const amount = Math.max(0, real - stillCounted);
    this.#add({ atUs: timeUs, amount }, sliceOf(spec.periodMs * 1000));
    const use = { before, after: before + amount };
    const warn = this.#warned.moved(spec.budget?.warn ?? [], spec.count, use, { nowUs: timeUs, cutoffUs });
    return { over: Math.max(0, real - held.amount), warn, spec };
  }

  /** For a call that was not made: it is as if it had not been reserved. */
  refund(held: Held, nowUs: number): void {
    this.#moveTo(this.#lastSpec(), nowUs);
    this.#free(held);
  }

  /** What could be held now, and when nothing would be missing if no more were used: with calls in flight, at least. */
  remaining(spec: LimitSpec, nowUs: number): { used: number; remaining: number; fullAtUs: number } {
    const view = this.#view(spec, nowUs);
    const { used, reserved, endUs } = view;
    const remaining = Math.max(0, spec.count - used - reserved);
    if (used + reserved === 0) return { used, remaining, fullAtUs: nowUs };
    if (endUs !== null) return { used, remaining, fullAtUs: endUs };
    const newestUs = reserved > 0 ? view.timeUs : (this.#counted(view).at(-1)?.atUs ?? view.timeUs);
    return { used, remaining, fullAtUs: newestUs + spec.periodMs * 1000 };
  }

  /** From this time on the bucket is as good as a new one, if nothing is settled. */
  idleAt(): number {
    const newest = this.#slices.at(-1)?.atUs ?? Number.NEGATIVE_INFINITY;
    const lapsing = this.#open.size > 0 ? this.#latestUs + this.#rules.leaseUs : newest;
    return Math.max(this.#latestUs, Math.max(newest, lapsing) + this.#keptUs);
  }

  /** One line of JSON; null when the bucket has never been used. Made anew only after a change. */
  exportState(): string | null {
    if (this.#latestUs === Number.NEGATIVE_INFINITY) return null;
    this.#text ??= writeBudgetState({
      sliding: this.#sliding,
      keptUs: this.#keptUs,
      latestUs: this.#latestUs,
      used: this.#slices,
      open: this.#openSlices(),
      warned: this.#warned.exportState(),
    });
    return this.#text;
  }

  /**
   * Continues from an exported state. What calls held then counts as used: the process that made them is gone. If the
   * clock was set back in between, the times of a sliding window are moved so that the latest one is now; a calendar
   * stays in the period that it had reached.
   */
  static importState(state: string, nowUs: number, rules: BudgetRules): BudgetBucket | null {
    const saved = readBudgetState(state);
    if (saved === null) return null;
    const bucket = new BudgetBucket(rules);
    const ahead = saved.sliding ? Math.max(0, saved.latestUs - nowUs) : 0;
    const timeUs = Math.max(nowUs, saved.latestUs - ahead);
    const sliceUs = sliceOf(saved.keptUs);
    for (const { atUs, amount } of saved.used) bucket.#add({ atUs: atUs - ahead, amount }, sliceUs);
    for (const { atUs, amount } of saved.open) bucket.#add({ atUs: Math.min(atUs - ahead, timeUs), amount }, sliceUs);
    const levels = saved.warned.levels.map((level) => ({ ...level, atUs: level.atUs - ahead }));
    bucket.#warned = WarnedLevels.from(saved.warned.limit, levels);
    bucket.#latestUs = timeUs;
    bucket.#sliding = saved.sliding;
    bucket.#keptUs = saved.keptUs;
    return bucket;
  }

  /** What counts at `nowUs`. Looks only: what has expired or lapsed since the last change is left out here. */
  #view(spec: LimitSpec, nowUs: number): View {
    const timeUs = Math.max(nowUs, this.#latestUs);
    const window = this.#window(spec, timeUs);
    let used = this.#used;
    for (const { atUs, amount } of this.#slices) {
      if (atUs > window.cutoffUs) break;
      used -= amount;
    }
    let reserved = this.#reserved;
    for (const { deadlineUs, amount } of this.#open) {
      if (deadlineUs > timeUs) break;
      reserved -= amount;
      if (deadlineUs > window.cutoffUs) used += amount;
    }
    return { timeUs, ...window, used, reserved };
  }

  #window({ periodMs, budget }: LimitSpec, timeUs: number): Pick<View, "cutoffUs" | "endUs"> {
    const calendar = budget?.calendar ?? null;
    if (calendar === null) return { cutoffUs: timeUs - periodMs * 1000, endUs: null };
    const { startUs, endUs } = this.#rules.calendars.periodAt(calendar, timeUs);
    return { cutoffUs: startUs - 1, endUs };
  }

  /** The uses that count, in order of time. */
  #counted({ timeUs, cutoffUs }: View): Slice[] {
    const counted = this.#slices.filter(({ atUs }) => atUs > cutoffUs);
    for (const { deadlineUs, amount } of this.#open) {
      if (deadlineUs > timeUs) break;
      if (deadlineUs > cutoffUs) counted.push({ atUs: deadlineUs, amount });
    }
    return counted.sort((a, b) => a.atUs - b.atUs);
  }

  /** Moves the bucket's clock, and forgets and lapses what is due. */
  #moveTo(spec: LimitSpec, nowUs: number): Pick<View, "timeUs" | "cutoffUs"> {
    const timeUs = Math.max(nowUs, this.#latestUs);
    const { cutoffUs, endUs } = this.#window(spec, timeUs);
    this.#latestUs = timeUs;
    this.#sliding = endUs === null;
    this.#keptUs = keptOf(spec);
    this.#text = null;
    const forgetUs = this.#former === null ? cutoffUs : Math.min(cutoffUs, this.#formerCutoff(timeUs));
    let expired = 0;
    for (const { atUs, amount } of this.#slices) {
      if (atUs > forgetUs) break;
      this.#used -= amount;
      expired++;
    }
    if (expired > 0) this.#slices.splice(0, expired);
    for (const held of this.#open) {
      const { deadlineUs, amount } = held;
      if (deadlineUs > timeUs) break;
      this.#free(held);
      held.lapsed = true;
      if (deadlineUs > forgetUs) this.#add({ atUs: deadlineUs, amount }, sliceOf(spec.periodMs * 1000));
    }
    return { timeUs, cutoffUs };
  }

  /** A policy change must not make the bucket forget what only the other window has left behind. */
  #formerCutoff(timeUs: number): number {
    if (this.#former === null || timeUs >= this.#former.untilUs) {
      this.#former = null;
      return Number.POSITIVE_INFINITY;
    }
    this.#keptUs = Math.max(this.#keptUs, keptOf(this.#former.spec));
    return this.#window(this.#former.spec, timeUs).cutoffUs;
  }

  #lastSpec(): LimitSpec {
    if (this.#spec === null) throw new Error("internal: nothing was reserved of this budget");
    return this.#spec;
  }

  #free(held: Held): void {
    if (this.#open.delete(held)) this.#reserved -= held.amount;
  }

  /** Adds a use to the slice of its time, or to a later one that is there already. */
  #add({ atUs, amount }: Slice, sliceUs: number): void {
    const counted = Math.min(amount, MAX_USED - this.#used);
    if (counted <= 0) return;
    this.#used += counted;
    const part = Math.floor(atUs / sliceUs);
    let at = this.#slices.length;
    while (at > 0 && (this.#slices[at - 1]?.atUs ?? atUs) > atUs) at--;
    const [earlier, later] = [this.#slices[at - 1], this.#slices[at]];
    if (later !== undefined && Math.floor(later.atUs / sliceUs) === part) {
      later.amount += counted;
    } else if (earlier !== undefined && Math.floor(earlier.atUs / sliceUs) === part) {
      earlier.atUs = atUs;
      earlier.amount += counted;
    } else {
      this.#slices.splice(at, 0, { atUs, amount: counted });
    }
  }

  #openSlices(): Slice[] {
    const partUs = Math.ceil(this.#rules.leaseUs / EXPORTED_PER_LEASE);
    const slices: Slice[] = [];
    for (const { deadlineUs, amount } of this.#open) {
      const last = slices.at(-1);
      if (last === undefined || Math.floor(last.atUs / partUs) !== Math.floor(deadlineUs / partUs)) {
        slices.push({ atUs: deadlineUs, amount });
      } else {
        last.atUs = deadlineUs;
        last.amount += amount;
      }
    }
    return slices;
  }
}

function sliceOf(periodUs: number): number {
  return Math.ceil(periodUs / SLICES_PER_PERIOD);
}

/** How long a use may matter: a period, and for a calendar's the longest there is. */
function keptOf({ periodMs, budget }: LimitSpec): number {
  return periodMs * 1000 + (budget?.calendar ? CALENDAR_SLACK_US : 0);
}

function sameWindow(a: LimitSpec, b: LimitSpec): boolean {
  const [one, other] = [a.budget?.calendar, b.budget?.calendar];
  return a.periodMs === b.periodMs && one?.unit === other?.unit && one?.zone === other?.zone;
}

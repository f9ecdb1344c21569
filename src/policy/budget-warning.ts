/** When a level was told, and whether the use has stayed at or above it since. */
export interface WarnedLevel {
  readonly percent: number;
  readonly atUs: number;
  readonly above: boolean;
}

/**
 * Which levels of a budget have been told. A level is told when the use passes it upward, once per window: it is
 * told again only after the use was below it and the moment at which it was told last has left the window. Levels that
 * the use passes inside that time are told at its end, if the use is still above them. A changed limit is told anew.
 */
export class WarnedLevels {
  #limit = 0;
  readonly #levels = new Map<number, WarnedLevel>();

  /**
   * Notes that the use went up (or was corrected) from `before` to `after`.
   * @param cutoffUs what happened then or earlier is out of the window
   * @returns the levels to tell now, lowest first
   */
  moved(
    warn: readonly number[],
    limit: number,
    use: { readonly before: number; readonly after: number },
    time: { readonly nowUs: number; readonly cutoffUs: number },
  ): number[] {
    if (limit !== this.#limit) this.#levels.clear();
    this.#limit = limit;
    const tell: number[] = [];
    for (const percent of warn) {
      const level = (limit / 100) * percent;
      const told = this.#levels.get(percent);
      if (told !== undefined && use.before < level) this.#levels.set(percent, { ...told, above: false });
      if (use.after < level || (told !== undefined && this.#stands(percent, time.cutoffUs))) continue;
      this.#levels.set(percent, { percent, atUs: time.nowUs, above: true });
      tell.push(percent);
    }
    return tell;
  }

  #stands(percent: number, cutoffUs: number): boolean {
    const told = this.#levels.get(percent);
    return told !== undefined && (told.above || told.atUs > cutoffUs);
  }

  /** For the next start. */
  exportState(): { readonly limit: number; readonly levels: readonly WarnedLevel[] } {
    return { limit: this.#limit, levels: [...this.#levels.values()] };
  }

  static from(limit: number, levels: readonly WarnedLevel[]): WarnedLevels {
    const warned = new WarnedLevels();
    warned.#limit = limit;
    for (const level of levels) warned.#levels.set(level.percent, level);
    return warned;
  }
}

/** A clock that moves when it is told to. */
export class TestClock {
  #now = 0;

  /** The time, as an option `now`. */
  readonly now = (): number => this.#now;

  /** Lets `milliseconds` pass. */
  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

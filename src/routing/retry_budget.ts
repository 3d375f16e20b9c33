/**
 * How many requests may be sent again.
 * @module
 */

/** Options of {@linkcode RetryBudget}. */
export interface RetryBudgetOptions {
  /** Retries for each request. Default 0.1. */
  readonly ratio?: number;
  /** Retries that a quiet router has saved up at most, and begins with. Default 10. */
  readonly reserve?: number;
}

/**
 * Allows retries for a share of the requests only (as Finagle does): where everything fails, trying again
 * would double the load of those who are overloaded already.
 */
export class RetryBudget {
  readonly #ratio: number;
  readonly #reserve: number;
  #balance: number;

  /** With a full reserve. */
  constructor(options: RetryBudgetOptions = {}) {
    this.#ratio = options.ratio ?? 0.1;
    this.#reserve = options.reserve ?? 10;
    this.#balance = this.#reserve;
  }

  /** Retries that are left. */
  get balance(): number {
    return Math.floor(this.#balance);
  }

  /** A request has come (not a retry). */
  deposit(): void {
    this.#balance = Math.min(this.#reserve, this.#balance + this.#ratio);
  }

  /** Whether a request may be tried again; it counts as tried then. */
  withdraw(): boolean {
    if (this.#balance < 1) return false;
    this.#balance--;
    return true;
  }
}

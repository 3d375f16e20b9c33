/**
 * How far a batch is, on stderr: one line that is drawn again on a terminal, a line now and then elsewhere.
 * @module
 */
import type { BatchTotals } from "./batch_run.ts";

/** Options of {@linkcode BatchDisplay}. */
export interface BatchDisplayOptions {
  /** Requests of the batch. */
  readonly total: number;
  /** Requests of it that an earlier run has answered. */
  readonly skipped: number;
  /** Whether `write` goes to a terminal that can redraw a line. */
  readonly terminal: boolean;
  /** Takes raw text, line breaks included. */
  readonly write: (text: string) => void;
  /** The time in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** Time between two lines, in milliseconds. */
const REDRAW_MS = 200;
const PLAIN_MS = 30_000;

/** Shows how far a batch is. */
export class BatchDisplay implements Disposable {
  readonly #options: BatchDisplayOptions;
  readonly #now: () => number;
  #shownAt: number;
  #width = 0;

  /** Shows nothing yet. */
  constructor(options: BatchDisplayOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#shownAt = this.#now();
  }

  /** An answer has come; `seconds` were spent on answers so far. */
  show(totals: BatchTotals, seconds: number): void {
    const { terminal, write } = this.#options;
    const now = this.#now();
    if (now - this.#shownAt < (terminal ? REDRAW_MS : PLAIN_MS)) return;
    this.#shownAt = now;
    const line = this.#line(totals, seconds);
    write(terminal ? `\r${line.padEnd(this.#width)}` : `${line}\n`);
    this.#width = Math.max(this.#width, line.length);
  }

  /** Ends the line, if one was begun. */
  [Symbol.dispose](): void {
    if (this.#options.terminal && this.#width > 0) this.#options.write("\n");
    this.#width = 0;
  }

  #line({ requests, errors, generationTokens }: BatchTotals, seconds: number): string {
    const { total, skipped } = this.#options;
    const done = skipped + requests;
    const failed = errors === 0 ? "" : `, ${errors} failed`;
    const rate = (generationTokens / seconds).toFixed(1);
    const left = formatDuration((total - done) * seconds / requests);
    return `${done}/${total} requests${failed}, ${rate} tokens/s, ${left} left`;
  }
}

/** `12 s`, `3:05` or `2:00:09`. */
function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  return parts.map((part, i) => i === 0 ? String(part) : String(part).padStart(2, "0")).join(":");
}

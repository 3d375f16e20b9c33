/**
 * Progress of a long job on stderr: a bar on a terminal, plain lines elsewhere.
 * @module
 */

/** What loading a model is called. */
export const LOADING = "Loading weights";

const BAR_WIDTH = 30;
const PLAIN_STEP = 0.25;

/** A step for those who redraw what they show. */
export const FINE_STEP = 0.01;

/** Options of {@linkcode createProgress}. */
export interface ProgressOptions {
  /** What is under way, such as `Loading weights`. */
  readonly label: string;
  /** Whether `write` goes to a terminal that can redraw a line. */
  readonly terminal: boolean;
  /** Takes raw text, line breaks included. */
  readonly write: (text: string) => void;
  /** The smallest step that is shown. Default 0.01 on a terminal, 0.25 elsewhere. */
  readonly step?: number;
}

/** Makes a function that shows a fraction from 0 to 1; it ends its line at 1 and ignores steps back. */
export function createProgress(options: ProgressOptions): (fraction: number) => void {
  const { label, terminal, write } = options;
  const smallestStep = options.step ?? (terminal ? FINE_STEP : PLAIN_STEP);
  let shown = -1;
  return (fraction) => {
    const now = Math.min(1, Math.max(0, fraction));
    if (now <= shown || (now < 1 && now < shown + smallestStep)) return;
    shown = now;
    const percent = `${Math.floor(now * 100)}%`;
    if (!terminal) return write(`${label}: ${percent}\n`);
    const filled = Math.floor(now * BAR_WIDTH);
    const bar = "#".repeat(filled).padEnd(BAR_WIDTH);
    write(`\r${label} [${bar}] ${percent.padStart(4)}${now === 1 ? "\n" : ""}`);
  };
}

/** The fraction that a plain line of some label's progress tells; null when it is no such line. */
export function progressIn(line: string, label: string): number | null {
  const percent = line.startsWith(`${label}: `)
    ? /^(\d+)%$/.exec(line.slice(label.length + 2))
    : null;
  return percent === null ? null : Number(percent[1]) / 100;
}

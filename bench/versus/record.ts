/** The JSON of a run: written again with each row, so that an interrupted run leaves what it has. */
import type { Sample } from "./alternate.ts";
import type { Ceilings } from "./ceilings.ts";
import type { Machine } from "./machine.ts";
import type { PeerDescription } from "./peer.ts";
import type { Row } from "./row.ts";

/** One run of one side. */
export interface SampleRecord {
  /** What was measured. */
  readonly measurement: string;
  /** Who was measured. */
  readonly side: string;
  /** Figures by name. */
  readonly sample: Sample;
}

/** Something that was asked for and is not in the rows. */
export interface Failure {
  /** What. */
  readonly what: string;
  /** Why. */
  readonly reason: string;
}

/** What the JSON begins with. */
export interface Header {
  /** The command line, as it was given. */
  readonly command: readonly string[];
  /** When the run began. */
  readonly date: string;
  /** Runs of each side. */
  readonly runs: number;
  /** Threads of each side. */
  readonly threads: number;
  /** The machine. */
  readonly machine: Machine;
  /** Peers that took part. */
  readonly peers: readonly PeerDescription[];
}

/** Collects rows, runs and failures. */
export class RunRecord {
  /** Rows so far. */
  readonly rows: Row[] = [];
  /** Every run so far, in the order in which they were made. */
  readonly samples: SampleRecord[] = [];
  /** What is missing so far. */
  readonly failures: Failure[];
  /** What it begins with. */
  readonly header: Header;
  #ceilings: Ceilings | null = null;
  readonly #path: string;

  /** Writes to the file at `path`; `failures` are those of the preparation. */
  constructor(
    path: string,
    options: { readonly header: Header; readonly failures: readonly Failure[] },
  ) {
    this.#path = path;
    this.header = options.header;
    this.failures = [...options.failures];
    this.#write();
  }

  /** The limits of the machine as far as they are known. */
  set ceilings(ceilings: Ceilings) {
    this.#ceilings = ceilings;
    this.#write();
  }

  /** Adds rows. */
  addRows(rows: readonly Row[]): void {
    this.rows.push(...rows);
    this.#write();
  }

  /** Adds a run. */
  addSample(sample: SampleRecord): void {
    this.samples.push(sample);
    this.#write();
  }

  /** Adds a failure. */
  addFailure(failure: Failure): void {
    this.failures.push(failure);
    this.#write();
  }

  #write(): void {
    const record = {
      ...this.header,
      ceilings: this.#ceilings,
      rows: this.rows,
      samples: this.samples,
      failures: this.failures,
    };
    Deno.writeTextFileSync(this.#path, `${JSON.stringify(record, null, 1)}\n`);
  }
}

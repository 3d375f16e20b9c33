/** A row of the table: a figure of one side beside that of another. */
import { pairedRatios, summarize, type Summary } from "./statistics.ts";

/** What a target limits: the figure, its ratio to the baseline's, or its share of the roofline. */
export type Limited = "figure" | "ratio" | "share";

/** A target of the project. */
export interface Target {
  /** What is limited. */
  readonly of: Limited;
  /** Direction. */
  readonly sense: ">=" | "<=";
  /** The limit. */
  readonly limit: number;
}

/** A target and what became of it. */
export interface Verdict extends Target {
  /** Whether it is met; null where there is nothing to judge. */
  readonly met: boolean | null;
}

/** What the machine allows at most, as the same run measured it. */
export interface Roof {
  /** What limits, such as `read bandwidth`. */
  readonly of: string;
  /** The limit of the subject, in the row's unit. */
  readonly subject: number;
  /** The limit of the baseline, in the row's unit; null without one. */
  readonly baseline: number | null;
}

/** One side of a row. */
export interface Measured {
  /** Who or what it is. */
  readonly name: string;
  /** Its samples; null when it is not there. */
  readonly samples: readonly number[] | null;
}

/** What {@linkcode makeRow} is given. */
export interface RowOptions {
  /** Part of the benchmark. */
  readonly part: string;
  /** Model and format, such as `135m int8`. */
  readonly model: string;
  /** What was done, such as `prefill 512`. */
  readonly work: string;
  /** Unit of the figures. */
  readonly unit: string;
  /** What is judged. */
  readonly subject: Measured;
  /** What it is compared with. */
  readonly baseline?: Measured;
  /** What the machine allows. */
  readonly roof?: Roof;
  /** Targets. */
  readonly targets?: readonly Target[];
}

/** A row of the table. */
export interface Row {
  /** Part of the benchmark. */
  readonly part: string;
  /** Model and format. */
  readonly model: string;
  /** What was done. */
  readonly work: string;
  /** Unit of the figures. */
  readonly unit: string;
  /** What is judged. */
  readonly subject: { readonly name: string; readonly figure: Summary | null };
  /** What it is compared with; null where there is nothing. */
  readonly baseline: { readonly name: string; readonly figure: Summary | null } | null;
  /** Subject over baseline, run by run. */
  readonly ratio: Summary | null;
  /** Shares of the roofline, by their medians. */
  readonly roof: (Roof & Shares) | null;
  /** Targets and whether they are met. */
  readonly verdicts: readonly Verdict[];
  /** Runs behind this row in which others computed: such a row judges nothing. */
  readonly disturbedRuns: number;
}

interface Shares {
  readonly subjectShare: number | null;
  readonly baselineShare: number | null;
}

/** Compares samples and judges them. */
export function makeRow(options: RowOptions): Row {
  const { part, model, work, unit, subject, baseline, roof, targets = [] } = options;
  const ours = subject.samples && summarize(subject.samples);
  const theirs = baseline?.samples ? summarize(baseline.samples) : null;
  const ratio = ours && theirs && pairedRatios(ours.samples, theirs.samples);
  const share = (figure: Summary | null, limit: number | null) =>
    figure && limit !== null ? figure.median / limit : null;
  const shares = roof && {
    ...roof,
    subjectShare: share(ours, roof.subject),
    baselineShare: share(theirs, roof.baseline),
  };
  const limited: Readonly<Record<Limited, number | null>> = {
    figure: ours && ours.median,
    ratio: ratio && ratio.median,
    share: shares?.subjectShare ?? null,
  };
  return {
    part,
    model,
    work,
    unit,
    subject: { name: subject.name, figure: ours },
    baseline: baseline ? { name: baseline.name, figure: theirs } : null,
    ratio,
    roof: shares ?? null,
    verdicts: targets.map((target) => ({ ...target, met: judge(target, limited[target.of]) })),
    disturbedRuns: 0,
  };
}

function judge({ sense, limit }: Target, value: number | null): boolean | null {
  if (value === null) return null;
  return sense === ">=" ? value >= limit : value <= limit;
}

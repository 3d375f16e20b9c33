/** Rows as a table in Markdown. */
import type { Row, Target, Verdict } from "./row.ts";
import type { Summary } from "./statistics.ts";

const HEADER = ["part", "model", "work", "", "", "ratio (range)", "share of roofline", "target"];

/** All rows as one table. */
export function formatTable(rows: readonly Row[]): string {
  const lines = [HEADER, HEADER.map(() => "---"), ...rows.map(cells)];
  return lines.map((line) => `| ${line.join(" | ")} |`).join("\n");
}

/** One row, to be shown as soon as it is there. */
export function formatRow(row: Row): string {
  return cells(row).filter((cell) => cell !== "").join("  |  ");
}

function cells(row: Row): string[] {
  const { part, model, work, unit, subject, baseline, ratio, roof, verdicts } = row;
  return [
    part,
    model,
    work,
    `${subject.name}: ${figure(subject.figure, unit)}`,
    baseline ? `${baseline.name}: ${figure(baseline.figure, unit)}` : "",
    ratio ? `${times(ratio.median)} (${times(ratio.min)} to ${times(ratio.max)})` : "",
    roof ? shares(roof) : "",
    verdicts.map(verdict).join("; "),
  ];
}

function figure(summary: Summary | null, unit: string): string {
  return summary ? `${digits(summary.median)} ${unit}` : "not measured";
}

function shares(roof: NonNullable<Row["roof"]>): string {
  const { of, subjectShare, baselineShare } = roof;
  const known = [subjectShare, baselineShare].filter((share) => share !== null);
  if (known.length === 0) return "";
  return `${known.map(percent).join(" against ")} of ${of}`;
}

function verdict(verdict: Verdict): string {
  const { met } = verdict;
  return `${targetText(verdict)}: ${met === null ? "not judged" : met ? "met" : "**not met**"}`;
}

function targetText({ of, sense, limit }: Target): string {
  const what = { figure: "", ratio: "", share: " of the roofline" }[of];
  const value = { figure: digits, ratio: times, share: percent }[of](limit);
  return `${sense} ${value}${what}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

function times(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
}

function digits(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

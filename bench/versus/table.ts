/** Rows as a table in Markdown. */
import type { Header } from "./record.ts";
import type { Row, Target, Verdict } from "./row.ts";
import type { Summary } from "./statistics.ts";

const VECTOR_SETS = [
  "avx2",
  "avx512f",
  "avx512_vnni",
  "avx512_bf16",
  "amx_bf16",
  "amx_int8",
  "asimd",
];
const HEADER = ["part", "model", "work", "", "", "ratio (range)", "share of roofline", "target"];

/** What must stand beside the table wherever it is shown. */
export function formatCaption({ date, command, runs, threads, machine, peers }: Header): string {
  const { processor, vectorFlags, cores, deno, compiler, weft } = machine;
  const sets = VECTOR_SETS.filter((flag) => vectorFlags.includes(flag));
  return [
    `${date.slice(0, 10)}, ${processor} (${sets.join(", ") || "no wide vectors"}), ${cores} cores`,
    `${threads} threads, random weights, medians of ${runs} ${
      runs === 1 ? "run" : "runs"
    } in turns`,
    `weft ${weft ?? "outside a repository"}, Deno ${deno}, ${compiler ?? "no C compiler"}`,
    ...peers.map(({ name, version }) => `${name} ${version}`),
    `\`${["deno run -A bench/versus/main.ts", ...command].join(" ")}\``,
  ].join("; ");
}

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
  const { part, model, work, unit, subject, baseline, ratio, roof, verdicts, disturbedRuns } = row;
  const judged = verdicts.map((one) => verdictText(one, unit)).join("; ");
  return [
    part,
    model,
    work,
    `${subject.name}: ${figure(subject.figure, unit)}`,
    baseline ? `${baseline.name}: ${figure(baseline.figure, unit)}` : "",
    ratio ? `${times(ratio.median)} (${times(ratio.min)} to ${times(ratio.max)})` : "",
    roof ? shares(roof) : "",
    disturbedRuns > 0 ? `${judged} (disturbed)`.trim() : judged,
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

function verdictText(verdict: Verdict, unit: string): string {
  const { met } = verdict;
  const result = met === null ? "not judged" : met ? "met" : "**not met**";
  return `${targetText(verdict, unit)}: ${result}`;
}

function targetText({ of, sense, limit }: Target, unit: string): string {
  if (of === "ratio") return `${sense} ${times(limit)}`;
  if (of === "share") return `${sense} ${percent(limit)} of the roofline`;
  return `${sense} ${digits(limit)} ${unit}`;
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

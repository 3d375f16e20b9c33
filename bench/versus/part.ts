/** What a part of the benchmark is, and what it is given. */
import type { Ceilings } from "./ceilings.ts";
import type { LlamaCpp } from "./llama_cpp.ts";
import type { Models } from "./models.ts";
import type { OnnxRuntime } from "./onnx_runtime.ts";
import type { Row } from "./row.ts";
import type { Side, SideResult } from "./alternate.ts";
import type { FormatName, ShapeName } from "./shapes.ts";
import type { Weft } from "./weft.ts";

/** Parts, in the order in which they run. */
export const PART_NAMES = [
  "single",
  "batched",
  "http",
  "foreign",
  "tensor-parallel",
  "pipeline-parallel",
  "load",
] as const;

/** Name of a part on the command line. */
export type PartName = typeof PART_NAMES[number];

/** What a part measures with. */
export interface Bench {
  /** weft. */
  readonly weft: Weft;
  /** llama.cpp; null when it is not there. */
  readonly llamaCpp: LlamaCpp | null;
  /** onnxruntime-node; null when it is not there. */
  readonly onnxRuntime: OnnxRuntime | null;
  /** Checkpoints and files with random weights. */
  readonly models: Models;
  /** Limits of the machine. */
  readonly ceilings: Ceilings;
  /** Threads of each side. */
  readonly threads: number;
  /** Runs the sides in turns; failures are said and kept. */
  readonly alternate: (label: string, sides: readonly Side[]) => Promise<SideResult[]>;
}

/** A model in a format. */
export interface Case {
  /** Its shape. */
  readonly shape: ShapeName;
  /** Its format. */
  readonly format: FormatName;
}

/** A part of the benchmark. */
export interface Part {
  /** Models that it is meant for. */
  readonly cases: readonly Case[];
  /** Measures one of them. */
  readonly measure: (bench: Bench, testCase: Case) => Promise<Row[]>;
}

/** Every shape in every format. */
export function casesOf(shapes: readonly ShapeName[], formats: readonly FormatName[]): Case[] {
  return shapes.flatMap((shape) => formats.map((format) => ({ shape, format })));
}

/**
 * The cases of a part that were asked for: its own formats, unless others are named. Formats that are
 * named apply to every shape of the part.
 */
export function selectCases(
  cases: readonly Case[],
  wanted: { readonly shapes: readonly ShapeName[]; readonly formats: readonly FormatName[] | null },
): Case[] {
  const shapes = wanted.shapes.filter((shape) => cases.some((one) => one.shape === shape));
  if (wanted.formats !== null) return casesOf(shapes, wanted.formats);
  return cases.filter(({ shape }) => shapes.includes(shape));
}

/** How a case is called in the table. */
export function caseName({ shape, format }: Case): string {
  return `${shape} ${format}`;
}

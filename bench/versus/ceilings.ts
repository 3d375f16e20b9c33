/** What this machine can do at most, measured in the run that reports shares of it. */
import { prefillFlops } from "../gpu/_models.ts";
import type { ModelConfig } from "../../src/models/model_config.ts";
import { measureReadBandwidth } from "../../src/native/memory_bandwidth.ts";
import { cpuFlags } from "./machine.ts";
import { runProgram } from "./run_program.ts";
import type { FormatName } from "./shapes.ts";

/** Instructions whose peak is measured, where the processor has them. */
export type PeakName = "fma" | "bf16Dot" | "int8Dot" | "amxBf16" | "amxInt8";

/** Limits of the threads that are used, together. */
export interface Ceilings {
  /** Bytes read from memory a second. */
  readonly readBandwidth: number;
  /** Operations a second from registers, by instruction. */
  readonly peaks: Readonly<Partial<Record<PeakName, number>>>;
}

const LABELS: Readonly<Record<PeakName, string>> = {
  fma: "FMA peak",
  bf16Dot: "vdpbf16ps peak",
  int8Dot: "vpdpbusd peak",
  amxBf16: "AMX bf16 peak",
  amxInt8: "AMX int8 peak",
};

/** Instructions that multiply weights of a format, the fastest first. */
const INSTRUCTIONS: Readonly<Record<FormatName, readonly PeakName[]>> = {
  f32: ["fma"],
  bf16: ["amxBf16", "bf16Dot", "fma"],
  int8: ["amxInt8", "int8Dot", "fma"],
  int4: ["amxInt8", "int8Dot", "fma"],
};

/** Measures bandwidth and peaks; takes some seconds. Throws Error without a C compiler. */
export async function measureCeilings(threads: number): Promise<Ceilings> {
  return {
    readBandwidth: measureReadBandwidth({ threads }),
    peaks: await measurePeaks(threads),
  };
}

/** The higher of each limit: what disturbs a measurement only lowers it. */
export function higherCeilings(a: Ceilings, b: Ceilings): Ceilings {
  const names = Object.keys({ ...a.peaks, ...b.peaks }) as PeakName[];
  const higher = (name: PeakName) => Math.max(a.peaks[name] ?? 0, b.peaks[name] ?? 0);
  return {
    readBandwidth: Math.max(a.readBandwidth, b.readBandwidth),
    peaks: Object.fromEntries(names.map((name) => [name, higher(name)])),
  };
}

async function measurePeaks(threads: number): Promise<Ceilings["peaks"]> {
  const folder = await Deno.makeTempDir();
  try {
    const source = new URL("peaks.c", import.meta.url).pathname;
    const flags = peakFlags(Deno.build.arch, cpuFlags(await Deno.readTextFile("/proc/cpuinfo")));
    const common = ["-O2", "-std=gnu11", "-ffp-contract=fast", "-pthread"];
    const program = `${folder}/peaks`;
    await runProgram({ command: ["cc", ...common, ...flags, source, "-o", program, "-lm"] });
    return JSON.parse(await runProgram({ command: [program, String(threads)] }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Compiler flags that let every instruction be used that a processor with `flags` has. */
export function peakFlags(arch: string, flags: ReadonlySet<string>): string[] {
  if (arch !== "x86_64") return ["-mcpu=native"];
  const wanted: Readonly<Record<string, string>> = {
    avx: "-mavx",
    fma: "-mfma",
    avx512f: "-mavx512f",
    avx512_bf16: "-mavx512bf16",
    avx512_vnni: "-mavx512vnni",
    amx_tile: "-mamx-tile",
    amx_bf16: "-mamx-bf16",
    amx_int8: "-mamx-int8",
  };
  return Object.entries(wanted).filter(([flag]) => flags.has(flag)).map(([, option]) => option);
}

/** A limit and what it is. */
export interface Limit {
  /** What limits. */
  readonly of: string;
  /** Tokens a second. */
  readonly rate: number;
}

/** Tokens a second that reading `bytesPerToken` allows. */
export function decodeLimit(ceilings: Ceilings, bytesPerToken: number): Limit {
  return { of: "read bandwidth", rate: ceilings.readBandwidth / bytesPerToken };
}

/** Tokens a second that the arithmetic of a prompt of `tokens` allows; null where no peak is known. */
export function prefillLimit(
  ceilings: Ceilings,
  options: {
    readonly config: ModelConfig;
    readonly format: FormatName;
    readonly tokens: number;
  },
): Limit | null {
  const { config, format, tokens } = options;
  const name = INSTRUCTIONS[format].find((name) => ceilings.peaks[name] !== undefined);
  if (name === undefined) return null;
  return { of: LABELS[name], rate: ceilings.peaks[name]! * tokens / prefillFlops(config, tokens) };
}

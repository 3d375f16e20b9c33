/** What this machine is: the figures mean nothing without it. */
import { firstLine } from "./run_program.ts";

/** The machine and the programs that everything is built with. */
export interface Machine {
  /** Processor. */
  readonly processor: string;
  /** Its flags that name vector and matrix instructions. */
  readonly vectorFlags: readonly string[];
  /** Cores that are online. */
  readonly cores: number;
  /** Bytes of memory. */
  readonly memoryBytes: number;
  /** Kernel. */
  readonly kernel: string;
  /** Deno. */
  readonly deno: string;
  /** C compiler; null without one. */
  readonly compiler: string | null;
  /** Commit of weft, and whether files differ from it; null outside a repository. */
  readonly weft: string | null;
  /** Variables of weft that were set. */
  readonly variables: Readonly<Record<string, string>>;
}

const VECTOR_FLAG = /^(sse4_2|f16c|fma|bmi2|avx.*|amx.*|asimd.*|sve.*|i8mm|bf16)$/;

/** Describes the machine; `root` is weft's repository. */
export async function describeMachine(root: string): Promise<Machine> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  const commit = await firstLine(["git", "-C", root, "rev-parse", "HEAD"]);
  const changed = commit && await firstLine(["git", "-C", root, "status", "--porcelain", "-uno"]);
  const variables = Object.entries(Deno.env.toObject()).filter(([name]) =>
    name.startsWith("WEFT_") && name !== "WEFT_API_KEY"
  );
  return {
    processor: cpuinfoField(cpuinfo, "model name") ?? Deno.build.arch,
    vectorFlags: [...cpuFlags(cpuinfo)].filter((flag) => VECTOR_FLAG.test(flag)).sort(),
    cores: navigator.hardwareConcurrency,
    memoryBytes: Deno.systemMemoryInfo().total,
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    compiler: await firstLine(["cc", "--version"]),
    weft: commit && `${commit}${changed ? ", changed" : ""}`,
    variables: Object.fromEntries(variables),
  };
}

/** Flags of the first processor of a /proc/cpuinfo, which ARM calls features. */
export function cpuFlags(cpuinfo: string): ReadonlySet<string> {
  const flags = cpuinfoField(cpuinfo, "flags") ?? cpuinfoField(cpuinfo, "Features") ?? "";
  return new Set(flags.split(/\s+/).filter((flag) => flag !== ""));
}

function cpuinfoField(cpuinfo: string, name: string): string | null {
  const line = cpuinfo.split("\n").find((line) => line.split(":")[0].trim() === name);
  return line ? line.slice(line.indexOf(":") + 1).trim() : null;
}

/**
 * The processor, as the kernel reports it.
 * @module
 */

/** What `/proc/cpuinfo` says. */
export interface Processor {
  /** Architecture, as `Deno.build.arch` names it. */
  readonly arch: string;
  /** Name for people. */
  readonly name: string;
  /** Features that all of its cores have, by the kernel's names. */
  readonly features: ReadonlySet<string>;
}

/** The processor of this machine. Throws when the platform is not Linux on x86-64 or aarch64. */
export function readProcessor(): Processor {
  const { os, arch } = Deno.build;
  if (os !== "linux" || (arch !== "x86_64" && arch !== "aarch64")) {
    throw new Error(
      `Cannot run the CPU kernels as they need Linux on x86-64 or aarch64: this is ${os} ${arch}`,
    );
  }
  return parseProcessor(Deno.readTextFileSync("/proc/cpuinfo"), arch);
}

/** Reads the text of `/proc/cpuinfo` of a machine with the given architecture. */
export function parseProcessor(text: string, arch: string): Processor {
  const fields = text.split("\n").map((line) => {
    const colon = line.indexOf(":");
    return { key: line.slice(0, Math.max(colon, 0)).trim(), value: line.slice(colon + 1).trim() };
  });
  const first = (name: string) => fields.find(({ key }) => key === name)?.value;
  // Cores of one machine may differ, and a thread runs on any of them.
  const cores = fields.filter(({ key }) => key === (arch === "aarch64" ? "Features" : "flags"))
    .map(({ value }) => new Set(value.split(/\s+/)));
  const features = cores.length === 0
    ? new Set<string>()
    : cores.reduce((common, core) => common.intersection(core));
  return { arch, name: first("model name") ?? nameOfPart(arch, first), features };
}

/** ARM processors have numbers only. */
function nameOfPart(arch: string, field: (name: string) => string | undefined): string {
  const implementer = field("CPU implementer"), part = field("CPU part");
  if (implementer === undefined || part === undefined) return `unknown ${arch} processor`;
  return `${arch} processor ${implementer}:${part}`;
}

/** How much others compute while something is measured. */
import type { Side } from "./alternate.ts";

/** Clock ticks a second in /proc, which is 100 on every architecture of Linux. */
const TICKS_PER_SECOND = 100;

/** The figure that {@linkcode watched} adds to samples. */
export const FOREIGN_CORES = "foreignCores";

/** Cores above which a run counts as disturbed. */
export const DISTURBING_CORES = 0.1;

/** Processor time so far, in seconds. */
export interface CpuTimes {
  /** Of everybody, on all cores. */
  readonly everybody: number;
  /** Of this process and of the children that it has waited for. */
  readonly ours: number;
}

/** Reads the texts of /proc/stat and /proc/self/stat. */
export function parseCpuTimes(stat: string, selfStat: string): CpuTimes {
  const [user, nice, system, , , interrupts, softInterrupts] = stat.split("\n")[0]
    .split(/\s+/).slice(1).map(Number);
  // The name, in brackets, may hold spaces; what follows begins with the third field.
  const fields = selfStat.slice(selfStat.lastIndexOf(")") + 2).split(" ").map(Number);
  const [own, ownSystem, children, childrenSystem] = fields.slice(11, 15);
  return {
    everybody: (user + nice + system + interrupts + softInterrupts) / TICKS_PER_SECOND,
    ours: (own + ownSystem + children + childrenSystem) / TICKS_PER_SECOND,
  };
}

/** Cores that others kept busy on average between two readings that lie `seconds` apart. */
export function foreignCores(before: CpuTimes, after: CpuTimes, seconds: number): number {
  const everybody = after.everybody - before.everybody;
  const ours = after.ours - before.ours;
  return Math.max(0, everybody - ours) / seconds;
}

/** The same side, whose samples also say how many cores others used meanwhile. */
export function watched(side: Side): Side {
  return {
    name: side.name,
    run: async () => {
      const before = readCpuTimes();
      const start = performance.now();
      const sample = await side.run();
      const seconds = (performance.now() - start) / 1000;
      return { ...sample, [FOREIGN_CORES]: foreignCores(before, readCpuTimes(), seconds) };
    },
  };
}

function readCpuTimes(): CpuTimes {
  return parseCpuTimes(
    Deno.readTextFileSync("/proc/stat"),
    Deno.readTextFileSync("/proc/self/stat"),
  );
}

/**
 * How much memory processes have held at most.
 * @module
 */

/**
 * Sum of the largest resident sizes of this process and of `pids`, in bytes. Mapped weights count
 * where they were touched, once for each process. Processes that have ended count nothing.
 */
export function peakMemory(pids: readonly number[]): number {
  return [Deno.pid, ...pids].map(peakOf).reduce((sum, bytes) => sum + bytes);
}

function peakOf(pid: number): number {
  try {
    const match = /^VmHWM:\s*(\d+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`));
    return match ? Number(match[1]) * 1024 : 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

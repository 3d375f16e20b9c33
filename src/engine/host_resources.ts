/**
 * What this host lets the process use.
 * @module
 */

/** Processor cores that this process may use (affinity and container quota included). */
export function availableCores(): number {
  return Math.max(1, navigator.hardwareConcurrency);
}

/** Bytes of memory that are free for this process, within its container's limit. */
export function availableMemory(): number {
  const { available } = Deno.systemMemoryInfo();
  const limit = readNumber("/sys/fs/cgroup/memory.max");
  const used = readNumber("/sys/fs/cgroup/memory.current");
  return limit === null || used === null ? available : Math.min(available, limit - used);
}

function readNumber(path: string): number | null {
  try {
    const value = Number(Deno.readTextFileSync(path).trim());
    return Number.isSafeInteger(value) ? value : null; // "max" means no limit
  } catch {
    return null; // not in such a container
  }
}

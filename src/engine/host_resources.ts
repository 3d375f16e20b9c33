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
  const limit = readNumber(CONTAINER_LIMIT);
  const used = readNumber("/sys/fs/cgroup/memory.current");
  if (limit === null || used === null) return available;
  // Pages of files, mapped weights among them, count as used until something else needs the room.
  return Math.min(available, limit - used + containerFilePages());
}

/** Bytes of memory that this process could have if nothing else ran. */
export function totalMemory(): number {
  return Math.min(Deno.systemMemoryInfo().total, readNumber(CONTAINER_LIMIT) ?? Infinity);
}

const CONTAINER_LIMIT = "/sys/fs/cgroup/memory.max";

function containerFilePages(): number {
  const lines = readText("/sys/fs/cgroup/memory.stat")?.split("\n") ?? [];
  const bytesOf = (name: string) =>
    Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length) ?? 0);
  return bytesOf("inactive_file") + bytesOf("active_file");
}

function readNumber(path: string): number | null {
  const text = readText(path);
  const value = text === null ? NaN : Number(text.trim());
  return Number.isSafeInteger(value) ? value : null; // "max" means no limit
}

function readText(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null; // not in such a container
  }
}

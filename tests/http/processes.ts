/** What the kernel says of processes that tests have started. */

/** Ids of a process's children. */
export function childrenOf(pid: number): number[] {
  const children: number[] = [];
  for (const task of Deno.readDirSync(`/proc/${pid}/task`)) {
    const list = Deno.readTextFileSync(`/proc/${pid}/task/${task.name}/children`).trim();
    if (list) children.push(...list.split(" ").map(Number));
  }
  return children;
}

/** Whether a process is there and has not ended. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

/**
 * Starts ranks as child processes.
 * @module
 */
import type { NativeCommunicationLibrary } from "../native/communication.ts";
import { SharedFile } from "../native/shared_memory.ts";
import type { RankHandle } from "./rank_handle.ts";
import type { RankProcessInput } from "./rank_process.ts";
import type { RankOutcome, RankSpecification } from "./rank_runner.ts";

/**
 * Starts a rank in a child process. What it prints goes where this process prints. Its standard input
 * is a pipe that closes when this process ends, however it ends, and the child ends with it.
 */
export function startProcess(
  library: NativeCommunicationLibrary,
  specification: RankSpecification,
): RankHandle {
  const file = SharedFile.create(library);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-prompt",
      "--quiet",
      ...configArguments(specification.entry),
      module(),
    ],
    stdin: "piped",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  const input: RankProcessInput = { specification, outcomePath: file.path };
  const stdin = child.stdin.getWriter();
  // A child that died before it read this is reported by its status.
  stdin.write(new TextEncoder().encode(`${JSON.stringify(input)}\n`)).catch(() => {});
  const outcome = child.status.then((status) => readOutcome(file, status));
  const ended = outcome.then(async () => {
    file[Symbol.dispose]();
    await stdin.close().catch(() => {});
  });
  return { pid: child.pid, outcome, ended, kill: () => kill(child) };
}

function module(): string {
  return new URL("./rank_process.ts", import.meta.url).href;
}

/** The child resolves the entry's imports as the entry's own project does. */
function configArguments(entry: string): string[] {
  const url = new URL(entry);
  if (url.protocol !== "file:") return [];
  for (let folder = new URL(".", url);; folder = new URL("..", folder)) {
    for (const name of ["deno.json", "deno.jsonc"]) {
      const config = new URL(name, folder);
      if (isFile(config)) return ["--config", decodeURIComponent(config.pathname)];
    }
    if (folder.pathname === "/") return [];
  }
}

function isFile(url: URL): boolean {
  try {
    return Deno.statSync(url).isFile;
  } catch {
    return false;
  }
}

function readOutcome(file: SharedFile, status: Deno.CommandStatus): RankOutcome {
  if (status.signal !== null) {
    return { ok: false, reason: `its process was killed by ${status.signal}` };
  }
  const text = status.success ? file.read() : "";
  if (text === "") return { ok: false, reason: `its process ended early with code ${status.code}` };
  return JSON.parse(text) as RankOutcome;
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
}

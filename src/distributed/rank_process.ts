/**
 * Main module of the process in which the process launcher runs a rank.
 * @module
 */
import { openCommunicationLibrary } from "../native/communication.ts";
import { systemError } from "../native/mapped_regions.ts";
import { type RankSpecification, runRank } from "./rank_runner.ts";

/** What the process launcher writes to the rank's standard input, as one line of JSON. */
export interface RankProcessInput {
  /** What to run. */
  readonly specification: RankSpecification;
  /** File that takes the outcome. */
  readonly outcomePath: string;
}

if (import.meta.main) {
  const { specification, outcomePath } = JSON.parse(readLine()) as RankProcessInput;
  const library = openCommunicationLibrary(specification.libraryPath);
  library.system.weft_ignore_interrupt();
  // The launcher holds the other end of standard input open until this process has ended.
  const status = library.system.weft_exit_with_parent(0);
  if (status < 0) throw systemError(library.system, "Cannot watch the launcher", status);
  Deno.writeTextFileSync(outcomePath, await runRank(specification));
  // Whatever the entry has left running.
  Deno.exit(0);
}

function readLine(): string {
  const bytes: number[] = [];
  const byte = new Uint8Array(1);
  while (Deno.stdin.readSync(byte) === 1 && byte[0] !== 0x0a) bytes.push(byte[0]);
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** Runs programs and reads what they print. */

/** How a program is run. */
export interface ProgramOptions {
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Folder that it runs in. */
  readonly cwd?: string;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Seconds after which it is ended. Default an hour. */
  readonly seconds?: number;
}

/** Characters of an error's output that are shown. */
const SHOWN = 600;

/** Runs a program to its end and resolves with its output; throws Error when it fails. */
export async function runProgram(options: ProgramOptions): Promise<string> {
  const { command: [program, ...args], cwd, env, seconds = 3600 } = options;
  const { success, code, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd,
    env,
    stdin: "null",
    signal: AbortSignal.timeout(seconds * 1000),
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  const reason = new TextDecoder().decode(stderr).trim().slice(-SHOWN);
  throw new Error(`Cannot run ${options.command.join(" ")}: it exited with ${code}\n${reason}`);
}

/** First line that a program prints, or null when it is not there or fails. */
export async function firstLine(command: readonly string[]): Promise<string | null> {
  try {
    return (await runProgram({ command, seconds: 30 })).trim().split("\n")[0];
  } catch {
    return null;
  }
}

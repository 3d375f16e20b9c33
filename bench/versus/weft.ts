/** weft, run as its users run it. */
import { runProgram } from "./run_program.ts";
import { freePort, ServerProcess } from "./server_process.ts";

/** What is read of `bench throughput --json`. */
export interface WeftBench {
  /** Tokens a second. */
  readonly prefill: number;
  /** Tokens a second, of all sequences together. */
  readonly decode: number;
  /** Bytes that decoding one token reads. */
  readonly bytesPerToken: number;
}

/** Options of {@linkcode Weft.bench}. */
export interface WeftBenchOptions {
  /** Folder of the checkpoint. */
  readonly model: string;
  /** Flags that choose the format, the layout and so on. */
  readonly flags: readonly string[];
  /** Tokens of each prompt. */
  readonly promptTokens: number;
  /** Tokens to generate in each sequence. */
  readonly decodeTokens: number;
  /** Positions ahead of them; at least 1. */
  readonly depth: number;
  /** Sequences. Default 1. */
  readonly batch?: number;
}

/** weft's command line. */
export class Weft {
  readonly #root: string;

  /** Runs the command line of the repository at `root`. */
  constructor(root: string) {
    this.#root = root;
  }

  /** One run of `bench throughput`, after its own warm-up. */
  async bench(options: WeftBenchOptions): Promise<WeftBench> {
    const { model, flags, promptTokens, decodeTokens, depth, batch = 1 } = options;
    const output = await runProgram({
      command: this.#command([
        ...["bench", "throughput", "--json", "--repetitions", "1", "--model", model],
        ...["--prompt-tokens", String(promptTokens), "--decode-tokens", String(decodeTokens)],
        ...["--depth", String(depth), "--batch", String(batch), ...flags],
      ]),
      cwd: this.#root,
    });
    return readWeftBench(output);
  }

  /** A server of the checkpoint in `model`. */
  serve(
    options: { readonly model: string; readonly flags: readonly string[] },
  ): Promise<ServerProcess> {
    const port = freePort();
    return ServerProcess.start({
      command: this.#command([
        ...["serve", "--model", options.model, "--served-model-name", "bench"],
        ...["--port", String(port), ...options.flags],
      ]),
      url: `http://127.0.0.1:${port}`,
      cwd: this.#root,
    });
  }

  /** Writes a checkpoint with random weights. */
  async initModel(
    options: { readonly preset: string; readonly dtype: string; readonly out: string },
  ): Promise<void> {
    const { preset, dtype, out } = options;
    await runProgram({
      command: this.#command(["init-model", "--preset", preset, "--dtype", dtype, "--out", out]),
      cwd: this.#root,
    });
  }

  #command(args: readonly string[]): string[] {
    return [Deno.execPath(), "run", "-A", "mod.ts", ...args];
  }
}

/** Reads the JSON of `bench throughput`; throws Error when a figure is missing. */
export function readWeftBench(output: string): WeftBench {
  const record: Record<string, unknown> = JSON.parse(output.trim().split("\n").at(-1)!);
  const figure = (name: string) => {
    const value = record[name];
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new Error(`Cannot read bench throughput as it printed no ${name}: ${value}`);
  };
  return {
    prefill: figure("prefill_tokens_per_second"),
    decode: figure("decode_tokens_per_second"),
    bytesPerToken: figure("bytes_read_per_token"),
  };
}

/** llama.cpp's own benchmarks and its server. */
import { buildLlamaCpp, LLAMA_CPP_PROGRAMS } from "./llama_cpp_build.ts";
import type { PeerDescription } from "./peer.ts";
import { runProgram } from "./run_program.ts";
import { freePort, ServerProcess } from "./server_process.ts";

/** A program of llama.cpp. */
type Program = typeof LLAMA_CPP_PROGRAMS[number];

/** Speed of one sequence, in tokens a second. */
export interface LlamaBench {
  /** Prompt. */
  readonly prefill: number | null;
  /** Generated tokens. */
  readonly decode: number | null;
}

/** Speeds of several sequences together, in tokens a second. */
export type Speeds = Readonly<Record<"prefill" | "decode", number>>;

/** Options of {@linkcode LlamaCpp.bench}. */
export interface LlamaBenchOptions {
  /** GGUF file. */
  readonly model: string;
  /** Tokens of the prompt; 0 times none. */
  readonly promptTokens: number;
  /** Tokens to generate; 0 times none. */
  readonly decodeTokens: number;
  /** Positions that are filled before. */
  readonly depth: number;
}

/** Programs of llama.cpp in one folder. */
export class LlamaCpp {
  /** What it is. */
  readonly description: PeerDescription;
  readonly #folder: string;
  readonly #threads: number;

  private constructor(
    options: {
      readonly description: PeerDescription;
      readonly folder: string;
      readonly threads: number;
    },
  ) {
    this.description = options.description;
    this.#folder = options.folder;
    this.#threads = options.threads;
  }

  /** Takes the programs of `folder`, or builds them under `cache`; throws Error when it cannot. */
  static async open(
    options: {
      readonly folder: string | null;
      readonly cache: string;
      readonly threads: number;
      readonly log: (line: string) => void;
    },
  ): Promise<LlamaCpp> {
    const { threads } = options;
    const { folder, origin } = options.folder === null
      ? await buildLlamaCpp(options.cache, options.log)
      : { folder: programFolder(options.folder), origin: options.folder };
    const { stderr, stdout } = await new Deno.Command(`${folder}/llama-server`, {
      args: ["--version"],
    }).output();
    const decoder = new TextDecoder();
    const version = readVersion(decoder.decode(stdout) + decoder.decode(stderr));
    return new LlamaCpp({
      description: { name: "llama.cpp", version, origin },
      folder,
      threads,
    });
  }

  /** One run of llama-bench, after its own warm-up. */
  async bench(options: LlamaBenchOptions): Promise<LlamaBench> {
    const { model, promptTokens, decodeTokens, depth } = options;
    const output = await this.#run("llama-bench", [
      ...["-m", model, "-r", "1", "-o", "jsonl"],
      ...["-p", String(promptTokens), "-n", String(decodeTokens), "-d", String(depth)],
    ]);
    return readLlamaBench(output);
  }

  /** Speeds of `sequences` together, by llama-batched-bench. */
  async batched(
    options: {
      readonly model: string;
      readonly promptTokens: number;
      readonly decodeTokens: number;
      readonly sequences: number;
    },
  ): Promise<Speeds> {
    const { model, promptTokens, decodeTokens, sequences } = options;
    const context = sequences * (promptTokens + decodeTokens);
    const output = await this.#run("llama-batched-bench", [
      ...["-m", model, "-c", String(context), "--output-format", "jsonl"],
      ...["-npp", String(promptTokens), "-ntg", String(decodeTokens), "-npl", String(sequences)],
    ]);
    return readBatchedBench(output);
  }

  /** A server with `slots` sequences of `context` positions each. */
  serve(
    options: { readonly model: string; readonly slots: number; readonly context: number },
  ): Promise<ServerProcess> {
    const { model, slots, context } = options;
    const port = freePort();
    return ServerProcess.start({
      command: [
        ...[`${this.#folder}/llama-server`, "-m", model, "-t", String(this.#threads)],
        ...["-np", String(slots), "-c", String(slots * context), "--alias", "bench"],
        ...["--host", "127.0.0.1", "--port", String(port)],
      ],
      url: `http://127.0.0.1:${port}`,
    });
  }

  #run(program: Program, args: readonly string[]): Promise<string> {
    return runProgram({
      command: [`${this.#folder}/${program}`, "-t", String(this.#threads), ...args],
    });
  }
}

/** Version and compiler of what `llama-server --version` prints among messages. */
export function readVersion(output: string): string {
  const lines = output.split("\n").filter((line) => /^(version:|built with)/.test(line));
  return lines.map((line) => line.replace(/^version: /, "")).join(", ") || "of unknown version";
}

/** Speeds that llama-bench printed as lines of JSON; throws Error when there are none. */
export function readLlamaBench(output: string): LlamaBench {
  const records = jsonLines(output);
  const speed = (isWanted: (record: Readonly<Record<string, number>>) => boolean) =>
    records.find(isWanted)?.avg_ts ?? null;
  const prefill = speed((record) => record.n_prompt > 0 && record.n_gen === 0);
  const decode = speed((record) => record.n_gen > 0 && record.n_prompt === 0);
  if (prefill === null && decode === null) {
    throw new Error(`Cannot read llama-bench as it printed no speed: ${output.slice(0, 200)}`);
  }
  return { prefill, decode };
}

/** Speeds that llama-batched-bench printed among other lines; throws Error when there are none. */
export function readBatchedBench(output: string): Speeds {
  const record = jsonLines(output).at(-1);
  if (!record || !(record.speed_tg > 0)) {
    throw new Error(
      `Cannot read llama-batched-bench as it printed no speed: ${output.slice(0, 200)}`,
    );
  }
  return { prefill: record.speed_pp, decode: record.speed_tg };
}

function jsonLines(output: string): Readonly<Record<string, number>>[] {
  return output.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

/** Where the programs lie: in `folder` itself or where builds put them. */
function programFolder(folder: string): string {
  const places = [folder, `${folder}/bin`, `${folder}/build/bin`];
  const found = places.find((place) =>
    LLAMA_CPP_PROGRAMS.every((program) => isFile(`${place}/${program}`))
  );
  if (found) return found;
  throw new Error(
    `Cannot use llama.cpp of ${folder} as programs are missing: looked for ${
      LLAMA_CPP_PROGRAMS.join(", ")
    } in ${places.join(", ")}`,
  );
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

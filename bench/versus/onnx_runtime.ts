/** onnxruntime-node, which transformers.js computes with in Node and Deno. */
import type { ModelConfig } from "../../src/models/model_config.ts";
import type { PeerDescription } from "./peer.ts";
import { runProgram } from "./run_program.ts";

/** Pinned, so that figures of two days can be compared. */
const VERSION = "1.30.0";
const PACKAGE = "onnxruntime-node";

/** The package in one folder. */
export class OnnxRuntime {
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

  /** Takes the package of `folder`, or installs it under `cache`; throws Error when it cannot. */
  static async open(
    options: {
      readonly folder: string | null;
      readonly cache: string;
      readonly threads: number;
    },
  ): Promise<OnnxRuntime> {
    const folder = options.folder === null
      ? `${options.cache}/${PACKAGE}-${VERSION}`
      : await Deno.realPath(options.folder);
    if (options.folder === null && packageVersion(folder) === null) {
      // Without its scripts, which would fetch what GPUs need.
      const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder];
      await runProgram({ command: ["npm", "install", ...flags, `${PACKAGE}@${VERSION}`] });
    }
    const version = packageVersion(folder);
    if (version === null) {
      throw new Error(`Cannot use ${PACKAGE} of ${folder} as its node_modules does not hold it`);
    }
    const origin = options.folder ?? `${PACKAGE}@${VERSION} of npm`;
    return new OnnxRuntime({
      description: { name: PACKAGE, version, origin },
      folder,
      threads: options.threads,
    });
  }

  /** One run of one sequence, after a warm-up: tokens a second. */
  async bench(
    options: {
      readonly model: string;
      readonly config: ModelConfig;
      readonly promptTokens: number;
      readonly decodeTokens: number;
      readonly depth: number;
    },
  ): Promise<{ prefill: number; decode: number }> {
    const { model, config, promptTokens, decodeTokens, depth } = options;
    const numbers = [
      ...[this.#threads, promptTokens, decodeTokens, depth],
      ...[config.numLayers, config.numKvHeads, config.headDim, config.vocabSize],
    ];
    const script = new URL("onnx_session.ts", import.meta.url).pathname;
    const output = await runProgram({
      command: [
        ...[Deno.execPath(), "run", "-A", "--no-config", script, this.#folder, model],
        ...numbers.map(String),
      ],
    });
    return JSON.parse(output.trim().split("\n").at(-1)!);
  }
}

function packageVersion(folder: string): string | null {
  try {
    const path = `${folder}/node_modules/${PACKAGE}/package.json`;
    return JSON.parse(Deno.readTextFileSync(path)).version;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Compiles CUDA kernels for the architecture that it is sent, and answers with the log. */
import { cudaProgram } from "../../../src/native/cuda_compile.ts";
import { CUDA_SOURCES } from "../../../src/native/cuda_sources.ts";
import { openNvrtc } from "../../../src/native/nvrtc.ts";
import type { NativeSource } from "../../../src/native/sources.ts";

/** What to compile. */
export interface CompileRequest {
  /** Compute capability as a number: 90 is 9.0. */
  readonly architecture: number;
  /** Whether kernels that exist for several types are compiled for bf16 alone. */
  readonly oneType: boolean;
}

/** Makes the assembler report each kernel's resources in the log. */
const VERBOSE = "--ptxas-options=-v";

/** Lines that make the kernels of one type. */
const OTHER_TYPES = /^WEFT_\w+\(\w*f(16|32)\b(?<!bf16\b).*\)$/gm;

const scope = self as unknown as {
  onmessage: (event: MessageEvent<CompileRequest>) => void;
  postMessage(log: string): void;
};

function withOneType({ name, text }: NativeSource): NativeSource {
  return { name, text: text.replace(OTHER_TYPES, "") };
}

scope.onmessage = ({ data: { architecture, oneType } }) => {
  using nvrtc = openNvrtc();
  const sources = oneType ? CUDA_SOURCES.map(withOneType) : CUDA_SOURCES;
  const program = cudaProgram({ architecture, sources });
  scope.postMessage(
    nvrtc.compile({ ...program, options: [...program.options, VERBOSE] }).log,
  );
};

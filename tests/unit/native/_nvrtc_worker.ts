/** Compiles every CUDA kernel for the architecture that it is sent, and answers with the log. */
import { cudaProgram } from "../../../src/native/cuda_compile.ts";
import { CUDA_SOURCES } from "../../../src/native/cuda_sources.ts";
import { openNvrtc } from "../../../src/native/nvrtc.ts";

/** Makes the assembler report each kernel's resources in the log. */
const VERBOSE = "--ptxas-options=-v";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<number>) => void;
  postMessage(log: string): void;
};

scope.onmessage = ({ data: architecture }) => {
  using nvrtc = openNvrtc();
  const program = cudaProgram({ architecture, sources: CUDA_SOURCES });
  scope.postMessage(
    nvrtc.compile({ ...program, options: [...program.options, VERBOSE] }).log,
  );
};

/**
 * Module of the worker that is a thread of the WebAssembly kernels.
 * @module
 */
/// <reference lib="deno.worker" />
import { WasmLibrary, type WasmThreadStart } from "./wasm_library.ts";

self.onmessage = ({ data }: MessageEvent<WasmThreadStart>) => {
  const library = new WasmLibrary(data.memory);
  library.runThread(data.thread);
  self.close();
};

/** The real compiler over all CUDA kernels, on machines that have it; no GPU is needed. */
import { assert, assertEquals } from "@std/assert";
import { LibraryError } from "../../../src/native/library.ts";
import { openNvrtc } from "../../../src/native/nvrtc.ts";
import type { CompileRequest } from "./_nvrtc_worker.ts";

/** Types differ in the same way on every architecture: one has them all. */
const REQUESTS: readonly CompileRequest[] = [
  { architecture: 90, oneType: false },
  { architecture: 80, oneType: true },
  { architecture: 100, oneType: true },
];

/** What one kernel takes of a multiprocessor. */
interface KernelResources {
  readonly name: string;
  readonly registers: number;
  readonly sharedBytes: number;
  readonly stackBytes: number;
  readonly spillStores: number;
  readonly spillLoads: number;
}

/** Lines that the assembler writes about every program and kernel; any other is a warning. */
const REPORT =
  /^ptxas( info\s*: (Compiling entry function|Function properties for|Used \d+ registers|Compile time|\(C\d+\) Compil|\d+ bytes gmem)|\s+\. ?\s+\d+ bytes stack frame)/;

function kernelResources(log: string): KernelResources[] {
  return log.split(/^.*Compiling entry function '/m).slice(1).map((part) => {
    const count = (pattern: RegExp) => Number(part.match(pattern)?.[1] ?? 0);
    const registers = part.match(/Used (\d+) registers/);
    assert(registers, `the log gives registers for each kernel: ${part}`);
    return {
      name: part.slice(0, part.indexOf("'")),
      registers: Number(registers[1]),
      sharedBytes: count(/(\d+) bytes smem/),
      stackBytes: count(/(\d+) bytes stack frame/),
      spillStores: count(/(\d+) bytes spill stores/),
      spillLoads: count(/(\d+) bytes spill loads/),
    };
  });
}

function printTable(architecture: number, kernels: readonly KernelResources[]): void {
  const titles = ["registers", "static shared", "stack", "spill stores", "spill loads"];
  const line = (name: string, cells: readonly (string | number)[]) =>
    name.padEnd(44) + cells.map((cell) => String(cell).padStart(14)).join("");
  console.log(line(`sm_${architecture}`, titles));
  for (const { name, registers, sharedBytes, stackBytes, spillStores, spillLoads } of kernels) {
    console.log(line(name, [registers, sharedBytes, stackBytes, spillStores, spillLoads]));
  }
}

/** Whether the compiler is missing; says so. */
function isCompilerMissing(): boolean {
  try {
    using _nvrtc = openNvrtc();
    return false;
  } catch (error) {
    if (!(error instanceof LibraryError)) throw error;
    console.warn(`NOT CHECKED: kernels with the real NVRTC: ${error.message}`);
    return true;
  }
}

/** The compiler's log; each architecture on a thread of its own, as one takes half a minute. */
async function compile(request: CompileRequest): Promise<string> {
  const worker = new Worker(import.meta.resolve("./_nvrtc_worker.ts"), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  worker.postMessage(request);
  try {
    return await promise;
  } finally {
    worker.terminate();
  }
}

const ignore = isCompilerMissing();

function checkLog({ architecture, oneType }: CompileRequest, log: string): void {
  const kernels = kernelResources(log).sort((a, b) => a.name < b.name ? -1 : 1);
  printTable(architecture, kernels);
  for (const kind of [/skinny_linear/, /attention_decode/, /attention_prefill/]) {
    assert(kernels.some(({ name }) => kind.test(name)), `a kernel is called ${kind.source}`);
  }
  assertEquals(
    kernels.some(({ name }) => name === "attention_rows_f16"),
    !oneType,
    "kernels for f16",
  );
  assertEquals(log.split("\n").filter((text) => !REPORT.test(text)), [], "warnings");
  const spilling = kernels.filter(({ spillStores, spillLoads }) => spillStores + spillLoads > 0);
  assertEquals(spilling.map(({ name }) => name), [], "kernels that spill registers");
  assertEquals(kernels.filter(({ sharedBytes }) => sharedBytes > 0), [], "static shared memory");
}

Deno.test({
  name: "NVRTC compiles every kernel without warnings and spills",
  ignore,
  async fn(test) {
    const logs = REQUESTS.map((request) => compile(request));
    for (const [i, request] of REQUESTS.entries()) {
      const log = await logs[i];
      await test.step(`sm_${request.architecture}`, () => checkLog(request, log));
    }
  },
});

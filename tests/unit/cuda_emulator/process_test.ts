import { assertEquals, assertMatch } from "@std/assert";
import { emulatorLibraries } from "../../cuda_emulator/build.ts";

const CUDART = new URL("../../../src/native/cudart.ts", import.meta.url);
const BUILD = new URL("../../cuda_emulator/build.ts", import.meta.url);

/** Runs a program in a process of its own with these variables. */
async function runProcess(
  code: string,
  env: Record<string, string>,
): Promise<{ output: string; errors: string }> {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", code],
    env: { ...await emulatorLibraries(), NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

Deno.test("variables of the process choose the emulated devices and their failures", async () => {
  const code = `
    import { openCudart } from "${CUDART}";
    using cudart = openCudart();
    console.log(cudart.getDeviceCount(), cudart.memGetInfo().total);
    try { cudart.malloc(8); } catch (error) { console.log(error.status); }
  `;
  const { output } = await runProcess(code, {
    WEFT_EMULATED_GPUS: "3",
    WEFT_EMULATED_GPU_MEMORY: "1000000",
    WEFT_EMULATED_FAILURES: "allocation=1",
  });
  assertEquals(output, "3 1000000\n2\n");
});

Deno.test("a process can have no emulated device", async () => {
  const code = `
    import { openCudart } from "${CUDART}";
    using cudart = openCudart();
    try { cudart.getDeviceCount(); } catch (error) { console.log(error.status); }
  `;
  assertEquals((await runProcess(code, { WEFT_EMULATED_GPUS: "0" })).output, "100\n");
});

Deno.test("a process reports at its end what it has not freed, when it is asked to", async () => {
  const code = `
    import { openCudart } from "${CUDART}";
    using cudart = openCudart();
    cudart.malloc(1234);
    cudart.streamCreateWithFlags(1);
  `;
  const asked = await runProcess(code, { WEFT_EMULATED_LEAK_REPORT: "1" });
  assertMatch(asked.errors, /not freed at exit:\n1234 bytes of device memory at 0x\w+\nstream\n/);
  assertEquals((await runProcess(code, { WEFT_EMULATED_LEAK_REPORT: "0" })).errors, "");
});

Deno.test("without g++ the emulator says what to install", async () => {
  const code = `
    import { emulatorLibraries } from "${BUILD}";
    await emulatorLibraries();
  `;
  const { errors } = await runProcess(code, { PATH: "" });
  assertMatch(errors, /Cannot build the CUDA emulator as g\+\+ is not on the PATH: install it/);
});

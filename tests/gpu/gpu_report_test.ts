import { assert, assertEquals, assertMatch } from "@std/assert";
import type { GpuReport } from "../../src/cli/gpu_report.ts";
import { emulatorLibraries } from "../cuda_emulator/build.ts";

const MODULE = new URL("../../src/cli/gpu_report.ts", import.meta.url).href;
const PROGRAM = `import { describeGpus } from ${JSON.stringify(MODULE)};
console.log(JSON.stringify(describeGpus()));`;

Deno.test("the report of GPUs names each with its capability, size and memory", async () => {
  const env = Deno.env.get("WEFT_TEST_GPU") === "1" ? {} : await emulatorLibraries();
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", PROGRAM],
    env: { ...env, NO_COLOR: "1" },
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  const report: GpuReport = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(report.status, `${report.devices.length} found`);
  assertMatch(report.driver ?? "", /^CUDA \d+\.\d+/);
  assert(report.devices.length > 0);
  for (const device of report.devices) {
    assert(device.name !== "" && !device.name.includes("\0"));
    assertMatch(device.compute_capability, /^\d+\.\d$/);
    assert(device.multiprocessors > 0);
    assert(device.free_memory_bytes! > 0 && device.free_memory_bytes! <= device.memory_bytes);
  }
});

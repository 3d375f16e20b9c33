import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { GpuReport } from "../../../src/cli/gpu_report.ts";

const MODULE = new URL("../../../src/cli/gpu_report.ts", import.meta.url).href;
const PROGRAM = `import { describeGpus } from ${JSON.stringify(MODULE)};
console.log(JSON.stringify(describeGpus()));`;

function describe(env: Record<string, string>): GpuReport {
  const { stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["eval", PROGRAM],
    env: { ...env, NO_COLOR: "1" },
  }).outputSync();
  assertEquals(new TextDecoder().decode(stderr), "");
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("the report of GPUs says of each library which one is used or why there is none", () => {
  const { libraries, status } = describe({});
  assertEquals(Object.keys(libraries), ["cudart", "cublas", "nvrtc", "nccl"]);
  for (const [name, library] of Object.entries(libraries)) {
    if ("missing" in library) assertStringIncludes(library.missing, `Cannot open ${name} as `);
    else assert(library.path.startsWith("/") && /^\d+\.\d+/.test(library.version), name);
  }
  assert(status !== "");
});

Deno.test("the report of GPUs does not need CUDA", () => {
  const variables = ["CUDART", "CUBLAS", "NVRTC", "NCCL"].map((name) => `WEFT_${name}_PATH`);
  const report = describe(Object.fromEntries(variables.map((name) => [name, "/nowhere/library"])));
  const reasons = Object.values(report.libraries).map((library) =>
    "missing" in library ? library.missing : ""
  );
  for (const [index, variable] of variables.entries()) {
    assertStringIncludes(reasons[index], "/nowhere/library: no such file");
    assertStringIncludes(reasons[index], `or set ${variable} to`);
  }
  assertEquals([report.status, report.driver, report.devices], [reasons[0], null, []]);
});

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { chooseInstructionSet, instructionSetsOf } from "../../../src/native/instruction_set.ts";
import { parseProcessor, type Processor, readProcessor } from "../../../src/native/processor.ts";

const HASWELL = "fpu sse2 fma avx f16c bmi1 avx2 bmi2";
const SKYLAKE = `${HASWELL} avx512f avx512dq avx512cd avx512bw avx512vl`;
const ZEN4 = `${SKYLAKE} avx512_bf16 avx512_vnni`;
const SAPPHIRE_RAPIDS = `${ZEN4} amx_bf16 amx_tile amx_int8`;

/** A machine whose cores have these flags. */
function x86(...cores: string[]): Processor {
  const text = cores.map((flags, i) =>
    `processor\t: ${i}\nmodel name\t: A Processor\nflags\t\t: ${flags}\nbugs\t\t: none\n\n`
  ).join("");
  return parseProcessor(text, "x86_64");
}

function arm(features: string): Processor {
  const core = `processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: ${features}\n` +
    "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n";
  return parseProcessor(core, "aarch64");
}

Deno.test("the best set that all cores have is chosen", () => {
  const cases: [Processor, string][] = [
    [x86("fpu sse2"), "portable"],
    [x86("fpu sse2 avx avx2"), "portable"],
    [x86(HASWELL), "avx2"],
    [x86(SKYLAKE), "avx512"],
    [x86(`${HASWELL} avx512f`), "avx2"],
    [x86(ZEN4), "avx512"],
    [x86(SAPPHIRE_RAPIDS), "amx"],
    // Tiles without what the kernels between them need.
    [x86(`${SKYLAKE} amx_bf16 amx_tile amx_int8`), "avx512"],
    [x86(`${ZEN4} amx_bf16 amx_tile`), "avx512"],
    [x86(ZEN4, HASWELL), "avx2"],
    [arm("fp asimd evtstrm"), "neon"],
    [arm("fp"), "portable"],
    [parseProcessor("", "x86_64"), "portable"],
  ];
  for (const [processor, expected] of cases) {
    const { name, reason } = chooseInstructionSet(processor);
    assertEquals([name, reason], [expected, "the best that the processor has"]);
  }
});

Deno.test("flags name the instructions that a processor has, and no others", () => {
  const flagsOf = (processor: Processor, forced?: string) =>
    chooseInstructionSet(processor, forced).flags.join(" ");
  assert(!flagsOf(x86(SKYLAKE)).includes("bf16"));
  assertStringIncludes(flagsOf(x86(ZEN4)), "-mavx512bf16 -mavx512vnni");
  assertStringIncludes(flagsOf(x86(SKYLAKE)), "-mprefer-vector-width=512");
  assertStringIncludes(flagsOf(x86(SAPPHIRE_RAPIDS)), "-mamx-tile -mamx-bf16 -mamx-int8");
  assert(!/amx|512|native/.test(flagsOf(x86(SAPPHIRE_RAPIDS), "avx2")));
  assertEquals(flagsOf(x86(SAPPHIRE_RAPIDS), "portable"), "-march=x86-64");
  assertEquals(flagsOf(arm("fp asimd")), "-march=armv8-a");
  assertEquals(flagsOf(arm("fp asimd atomics asimddp")), "-march=armv8.2-a+dotprod");
  assertEquals(
    flagsOf(arm("fp asimd atomics asimddp i8mm bf16")),
    "-march=armv8.2-a+dotprod+bf16+i8mm",
  );
  assertEquals(flagsOf(arm("fp asimd"), "portable"), "-march=armv8-a -DWEFT_PORTABLE");
});

Deno.test("a set is forced by name; one that lacks says what", () => {
  const zen4 = x86(ZEN4);
  for (const name of ["avx512", "avx2", "portable"]) {
    const chosen = chooseInstructionSet(zen4, name);
    assertEquals([chosen.name, chosen.reason], [name, "WEFT_CPU_ISA names it"]);
  }
  assertEquals(chooseInstructionSet(zen4, "").name, "avx512");
  assertEquals(instructionSetsOf(zen4), ["avx512", "avx2", "portable"]);
  assertEquals(instructionSetsOf(arm("asimd")), ["neon", "portable"]);

  const refusal = (processor: Processor, name: string) =>
    assertThrows(() => chooseInstructionSet(processor, name), Error).message;
  assertStringIncludes(
    refusal(zen4, "amx"),
    "lacks amx_tile, amx_bf16, amx_int8: A Processor has avx512, avx2, portable",
  );
  assertStringIncludes(refusal(x86("fpu"), "avx2"), "lacks avx2, fma, f16c");
  assertStringIncludes(refusal(zen4, "neon"), "lacks aarch64");
  assertStringIncludes(
    refusal(arm("asimd"), "avx512"),
    "lacks x86_64: aarch64 processor 0x41:0xd0c has neon, portable",
  );
  for (const unknown of ["AVX512", "sse", "native", "toString"]) {
    const error = assertThrows(() => chooseInstructionSet(zen4, unknown), RangeError);
    assertStringIncludes(
      error.message,
      `amx, avx512, avx2, neon, portable: current value is ${unknown}`,
    );
  }
});

const DEVICE_MODULE = new URL("../../../src/tensor/open_device.ts", import.meta.url).href;
const PROGRAM = `import { openDevice } from ${JSON.stringify(DEVICE_MODULE)};
using device = openDevice({ kind: "cpu", threads: 1 });
console.log(JSON.stringify(device.description));`;

async function describeIn(isa: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", PROGRAM],
    env: { WEFT_CPU_ISA: isa, NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

Deno.test("WEFT_CPU_ISA forces each set of this machine, and refuses the others", async () => {
  const available = instructionSetsOf(readProcessor());
  const hashes = new Set<string>();
  for (const isa of available) {
    const { code, stdout, stderr } = await describeIn(isa);
    assertEquals(code, 0, stderr);
    const { instructionSet, instructionSetReason, kernelHash } = JSON.parse(stdout);
    assertEquals(instructionSet.split("+")[0], isa);
    assertEquals(instructionSetReason, "WEFT_CPU_ISA names it");
    hashes.add(kernelHash);
  }
  assertEquals(hashes.size, available.length, "ranks could not tell the builds apart");
  for (const isa of ["neon", "avx2"].filter((name) => !(available as string[]).includes(name))) {
    const { code, stderr } = await describeIn(isa);
    assertEquals(code, 1);
    assertStringIncludes(stderr, `Cannot use the instruction set ${isa}`);
  }
});

/** One part of the benchmark; each runs as a process of its own, so that none takes others along. */
export interface Part {
  /** Its name on the command line. */
  readonly name: string;
  /** Program and arguments; `deno` is the one that runs this. */
  readonly command: readonly string[];
  /** Variables that are set for it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Seconds after which it is ended. */
  readonly seconds: number;
}

function script(name: string, options: { args?: readonly string[]; seconds: number }): Part {
  const { args = [], seconds } = options;
  return {
    name: [name.replaceAll("_", "-"), ...args].join("-"),
    command: ["deno", "run", "-A", "--no-check", `bench/gpu/${name}.ts`, ...args],
    seconds,
  };
}

function python(name: string, options: { args?: readonly string[]; seconds: number }): Part {
  const { args = [], seconds } = options;
  const label = [name.replaceAll("_", "-"), ...args].join("-");
  return { name: label, command: ["python3", "-u", `bench/gpu/${name}.py`, ...args], seconds };
}

/** The part that measures what the others are compared with; it always runs first. */
export const CEILINGS: Part = script("ceilings", { seconds: 90 });

/** All other parts, in the order in which they run. */
export const PARTS: readonly Part[] = [
  {
    name: "tests",
    command: ["deno", "test", "-A", "--no-check", "tests/gpu"],
    env: { WEFT_TEST_GPU: "1" },
    seconds: 240,
  },
  {
    name: "golden",
    command: [
      "deno",
      "test",
      "-A",
      "--no-check",
      "tests/golden/cuda_layouts_test.ts",
      "tests/golden/cuda_quantized_test.ts",
    ],
    env: { WEFT_TEST_GPU: "1" },
    seconds: 180,
  },
  script("kernels", { seconds: 120 }),
  script("quantized_kernels", { seconds: 150 }),
  script("decode", { args: ["1b"], seconds: 60 }),
  script("decode", { args: ["8b"], seconds: 90 }),
  script("decode", { args: ["1b", "int8"], seconds: 60 }),
  script("decode", { args: ["1b", "int4"], seconds: 60 }),
  script("decode", { args: ["8b", "int8"], seconds: 120 }),
  script("decode", { args: ["8b", "int4"], seconds: 120 }),
  script("prefill", { args: ["1b"], seconds: 60 }),
  script("prefill", { args: ["8b"], seconds: 90 }),
  script("overhead", { args: ["1b"], seconds: 60 }),
  script("overhead", { args: ["8b"], seconds: 90 }),
  script("nccl", { seconds: 90 }),
  script("serving", { args: ["8b", "64"], seconds: 90 }),
  script("serving", { args: ["8b", "256"], seconds: 120 }),
  python("torch_kernels", { seconds: 60 }),
  python("transformers_decode", { args: ["1b"], seconds: 180 }),
  python("transformers_decode", { args: ["8b"], seconds: 240 }),
  python("transformers_serving", { args: ["8b", "64"], seconds: 150 }),
  python("transformers_serving", { args: ["8b", "256"], seconds: 180 }),
];

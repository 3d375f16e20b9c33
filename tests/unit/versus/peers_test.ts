import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { higherCeilings, peakFlags } from "../../../bench/versus/ceilings.ts";
import { foreignCores, parseCpuTimes } from "../../../bench/versus/foreign_load.ts";
import { burst, serverSentEvents } from "../../../bench/versus/http_clients.ts";
import { readBatchedBench, readLlamaBench, readVersion } from "../../../bench/versus/llama_cpp.ts";
import { cmakeFlags } from "../../../bench/versus/llama_cpp_build.ts";
import { cpuFlags } from "../../../bench/versus/machine.ts";
import { readWeftBench } from "../../../bench/versus/weft.ts";

const CPUINFO = [
  "processor\t: 0",
  "model name\t: Some Processor",
  "flags\t\t: fpu sse4_2 avx avx2 fma bmi2 f16c avx512f avx512cd avx512vl avx512dq avx512bw amx_tile",
  "",
  "processor\t: 1",
].join("\n");

Deno.test("a processor's flags are read, ARM's too", () => {
  assert(cpuFlags(CPUINFO).has("amx_tile"));
  assert(!cpuFlags(CPUINFO).has("amx"));
  assertEquals([...cpuFlags("Features\t: asimd bf16\n")], ["asimd", "bf16"]);
});

Deno.test("llama.cpp is built for exactly what the processor has", () => {
  const flags = cmakeFlags("x86_64", cpuFlags(CPUINFO));
  for (
    const flag of ["GGML_NATIVE=OFF", "GGML_AVX512=ON", "GGML_AVX512_BF16=OFF", "GGML_AMX_TILE=ON"]
  ) {
    assert(flags.includes(`-D${flag}`), flag);
  }
  assert(cmakeFlags("x86_64", new Set(["avx512f"])).includes("-DGGML_AVX512=OFF"));
  assert(cmakeFlags("aarch64", new Set(["asimd"])).includes("-DGGML_NATIVE=ON"));
});

Deno.test("peaks are compiled for what the processor has", () => {
  assertEquals(peakFlags("x86_64", new Set(["fma", "avx512_vnni", "sse2"])), [
    "-mfma",
    "-mavx512vnni",
  ]);
});

Deno.test("of limits that were measured twice the higher one counts", () => {
  const disturbed = { readBandwidth: 10, peaks: { fma: 5, int8Dot: 1 } };
  const calm = { readBandwidth: 30, peaks: { fma: 4, amxInt8: 2 } };
  assertEquals(higherCeilings(disturbed, calm), {
    readBandwidth: 30,
    peaks: { fma: 5, int8Dot: 1, amxInt8: 2 },
  });
});

Deno.test("speeds are read from each tool's own JSON", () => {
  const lines = [
    "ggml: some line",
    '{"n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 700.5}',
    '{"n_prompt": 0, "n_gen": 128, "n_depth": 0, "avg_ts": 100.25}',
  ];
  assertEquals(readLlamaBench(lines.join("\n")), { prefill: 700.5, decode: 100.25 });
  assertEquals(readLlamaBench(lines[2]), { prefill: null, decode: 100.25 });
  assertThrows(() => readLlamaBench("failed"), Error, "no speed");

  assertEquals(readBatchedBench('main: n_kv = 1\n{"speed_pp": 9, "speed_tg": 5}\n\nllama_perf'), {
    prefill: 9,
    decode: 5,
  });
  assertThrows(() => readBatchedBench("{}"), Error, "no speed");

  const record = {
    prefill_tokens_per_second: 1,
    decode_tokens_per_second: 2,
    bytes_read_per_token: 3,
  };
  assertEquals(readWeftBench(`a line\n${JSON.stringify(record)}\n`), {
    prefill: 1,
    decode: 2,
    bytesPerToken: 3,
  });
  assertThrows(
    () => readWeftBench('{"prefill_tokens_per_second": 1}'),
    Error,
    "no decode_tokens_per_second",
  );
});

Deno.test("a version is read among messages", () => {
  const output = "version: 0.5.0 (build 1)\nbuilt with GNU 12\n0.00.045 I srv: starting\n";
  assertEquals(readVersion(output), "0.5.0 (build 1), built with GNU 12");
  assertEquals(readVersion("failed\n"), "of unknown version");
});

Deno.test("what others compute is everybody's time less ours and our children's", () => {
  const stat = (busy: number) => `cpu  ${busy} 10 20 900 30 5 7 0 0 0\ncpu0 1 2 3\n`;
  const self = (ours: number) => `42 (a name) with) S 1 2 3 4 5 6 7 8 9 10 ${ours} 5 100 50 20 0`;
  const before = parseCpuTimes(stat(1000), self(200));
  assertEquals(before, { everybody: 10.42, ours: 3.55 });
  const after = parseCpuTimes(stat(1600), self(500));
  assertEquals(Math.round(foreignCores(before, after, 6) * 1000), 500);
  // Ticks are coarse: a little less than nothing is nothing.
  assertEquals(foreignCores(after, { ...after, ours: after.ours + 1 }, 6), 0);
});

Deno.test("events are read whatever pieces they come in", async () => {
  const text = 'data: {"a":1}\n\n: a comment\n\ndata: {"text":"é"}\n\ndata: [DONE]\n\n';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 7, bytes.length]) {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size));
    const events = await Array.fromAsync(serverSentEvents(ReadableStream.from(pieces)));
    assertEquals(events, ['{"a":1}', '{"text":"é"}', "[DONE]"]);
  }
});

Deno.test("a burst counts what each client was promised", async () => {
  const prompts: number[][] = [];
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (
    request,
  ) => {
    const { prompt, max_tokens } = await request.json();
    prompts.push(prompt);
    if (prompt[0] === 9) return new Response("no such token", { status: 400 });
    const tokens = prompt[0] === 8 ? max_tokens - 1 : max_tokens;
    const usage = { choices: [], usage: { completion_tokens: tokens } };
    return new Response(
      `data: {"choices":[{"text":""}]}\n\ndata: ${JSON.stringify(usage)}\n\ndata: [DONE]\n\n`,
    );
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  const served = await burst({ url, prompts: [[1], [2]], maxTokens: 5 });
  assertEquals([served.tokens, served.firstToken.length, prompts.length], [10, 2, 2]);
  await assertRejects(() => burst({ url, prompts: [[9]], maxTokens: 5 }), Error, "no such token");
  await assertRejects(() => burst({ url, prompts: [[8]], maxTokens: 5 }), Error, "4 of 5");
});

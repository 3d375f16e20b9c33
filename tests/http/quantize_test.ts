/** A checkpoint is quantised on the command line, then generated and served from. */
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { startServe } from "./serve_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const MODEL = `${ROOT}tests/fixtures/golden/qwen2`;

async function weft(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "mod.ts", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function promptLogprobs(model: string): Promise<number[]> {
  const ids = Array.from({ length: 30 }, (_, i) => 2 + (i * 37) % 300).join(",");
  const flags = ["--device", "cpu", "--threads", "1", "--num-kv-blocks", "16"];
  const asked = ["--prompt-ids", ids, "--max-tokens", "0", "--prompt-logprobs", "--json"];
  const out = await weft("generate", "--model", model, ...flags, ...asked);
  return JSON.parse(out).prompt_logprobs.slice(1);
}

for (const [method, changes] of [["int8", 0.1], ["int4", 1.5]] as const) {
  Deno.test(`weft quantize --method ${method}, then generate and serve`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const out = `${folder}/${method}`;
      const text = `${folder}/text`;
      await Deno.writeTextFile(text, "The tide comes in, and the tide goes out again. ".repeat(5));
      const flags = ["--calibration", text, "--threads", "1", "--json"];
      const report = JSON.parse(
        await weft("quantize", "--model", MODEL, "--method", method, "--out", out, ...flags),
      );
      assertEquals(report.out, out);
      assertLess(report.bytes, report.bytes_before);
      assert(report.tokens > 20 && report.mean_logprob_difference > 0);
      assertLess(report.mean_logprob_difference, changes);
      assertLess(report.mean_logprob_difference, report.largest_logprob_difference);
      assertLess(Math.abs(Math.log(report.perplexity_after / report.perplexity_before)), changes);

      const [before, after] = [await promptLogprobs(MODEL), await promptLogprobs(out)];
      const differences = after.map((logprob, i) => Math.abs(logprob - before[i]));
      assertLess(differences.reduce((sum, x) => sum + x) / differences.length, changes);
      assert(differences.some((difference) => difference > 0));

      const layout = ["--tensor-parallel-size", "2", "--pipeline-parallel-size", "2"];
      await using server = await startServe("--model", out, "--device", "cpu", ...layout);
      assertStringIncludes(server.log(), method === "int8" ? "compressed-tensors" : "awq");
      const response = await fetch(`${server.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: method, prompt: "The tide", max_tokens: 4, temperature: 0 }),
      });
      assertEquals(response.status, 200);
      assertEquals((await response.json()).usage.completion_tokens, 4);
      assertEquals(await server.stop(), 0);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

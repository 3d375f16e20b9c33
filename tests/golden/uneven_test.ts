/** Sizes that no rank count divides: the same answer to 1e-4 on any layout, the same bits on any PP. */
import { assertEquals, assertLess } from "@std/assert";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions } from "../../src/engine/types.ts";
import { initCheckpoint } from "../../src/models/init_checkpoint.ts";
import type { JsonObject } from "../../src/models/json_file.ts";
import { type Answer, answer } from "./golden_case.ts";

const DENSE: JsonObject = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 60,
  intermediate_size: 101,
  num_hidden_layers: 3,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  vocab_size: 131,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  attention_bias: true,
  mlp_bias: true,
  tie_word_embeddings: false,
  initializer_range: 0.2,
  bos_token_id: 0,
  eos_token_id: 1,
};

const { attention_bias: _1, mlp_bias: _2, ...plain } = DENSE;
const MODELS: Record<string, JsonObject> = {
  "dense with every bias": DENSE,
  "mixture of experts": {
    ...plain,
    architectures: ["MixtralForCausalLM"],
    model_type: "mixtral",
    num_local_experts: 5,
    num_experts_per_tok: 3,
  },
};

// No reference here, only prompts; margins of random weights are wide enough for greedy equality.
const CASE = {
  input_ids: Array.from({ length: 40 }, (_, i) => (i * 37) % 131),
  prompt_logprobs: [],
  logits_last: [],
  greedy_ids: new Array(12).fill(0),
  greedy_margins: [],
};

const LAYOUTS: (Partial<EngineOptions> & { name: string; exact: boolean })[] = [
  { name: "PP 3", pipelineParallelSize: 3, exact: true },
  { name: "3 threads", threads: 3, exact: true },
  { name: "small steps", maxNumBatchedTokens: 7, maxNumSeqs: 3, exact: true },
  { name: "TP 2", tensorParallelSize: 2, exact: false },
  { name: "TP 3", tensorParallelSize: 3, exact: false },
  { name: "TP 6", tensorParallelSize: 6, exact: false },
  { name: "TP 3 x PP 2", tensorParallelSize: 3, pipelineParallelSize: 2, exact: false },
];

for (const [name, config] of Object.entries(MODELS)) {
  Deno.test(`uneven sizes: ${name}`, async (test) => {
    const folder = await Deno.makeTempDir();
    try {
      const model = `${folder}/model`;
      initCheckpoint({ config, seed: 7n, dtype: "f16", out: model });
      const run = async (options: Partial<EngineOptions>): Promise<Answer> => {
        await using engine = await LlmEngine.load({
          model,
          device: "cpu",
          numKvBlocks: 32,
          threads: 1,
          ...options,
        });
        return await answer(engine, CASE);
      };
      const single = await run({});
      for (const { name, exact, ...options } of LAYOUTS) {
        await test.step(name, async () => {
          const other = await run(options);
          if (exact) assertEquals(other, single);
          assertEquals(other.greedy, single.greedy);
          assertEquals(other.drawn, single.drawn);
          for (const key of ["prompt", "vocabulary"] as const) {
            assertEquals(other[key].length, single[key].length);
            other[key].forEach((value, i) => assertLess(Math.abs(value - single[key][i]), 1e-4));
          }
        });
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

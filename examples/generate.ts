// Continues a list of prompts on one engine; all of them share the engine's batches.
import { LlmEngine } from "../mod.ts";

await using engine = await LlmEngine.load({ model: "models/demo", tensorParallelSize: 2 });

const prompts = ["Tensor parallelism", "The KV cache", "A pipeline bubble"];
const sampling = { temperature: 0.7, topP: 0.9, seed: 1n, maxTokens: 24 };

await Promise.all(prompts.map(async (prompt) => {
  let text = "";
  for await (const chunk of engine.generate({ prompt, sampling })) text += chunk.text;
  console.log(JSON.stringify({ prompt, text }));
}));

// Data 2 x pipeline 2 x tensor 2: two replicas of four ranks each answer as one rank does, to the bit.
import { LlmEngine, type Replica, ReplicaRouter } from "../mod.ts";

const questions = ["What is 45 + 16?", "How many devices does DP 2 x TP 2 x PP 2 need?"];
const load = (tensorParallelSize: number, pipelineParallelSize: number) =>
  LlmEngine.load({ model: "models/demo", tensorParallelSize, pipelineParallelSize, threads: 1 });

await using single = await load(1, 1);
await using hybrid = new ReplicaRouter(await Promise.all([load(2, 2), load(2, 2)]));

async function answer(replica: Replica, question: string) {
  const { tokenIds } = await single.text!.renderChat([{ role: "user", content: question }]);
  const sampling = { temperature: 0, maxTokens: 40, logprobs: 0 };
  const result = { text: "", logprobs: [] as number[] };
  for await (const chunk of replica.generate({ promptTokenIds: tokenIds, sampling })) {
    result.text += chunk.text;
    result.logprobs.push(...chunk.logprobs!.map(({ logprob }) => logprob));
  }
  return result;
}

for (const question of questions) {
  const [one, ...eight] = await Promise.all(
    [single, hybrid, hybrid].map((r) => answer(r, question)),
  );
  const same = eight.every((other) => JSON.stringify(other) === JSON.stringify(one));
  console.log(`${question} -> ${one.text} (2x2x2 gives the same bits: ${same})`);
}

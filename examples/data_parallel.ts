// Batched inference over two replicas: each takes a request when it is free, answers stay in order.
import { LlmEngine, ReplicaRouter } from "../mod.ts";

const questions = ["What is 2 + 3?", "What is 9 - 4?", "How much is 6 x 7?", "Count from 1 to 5."];
const load = () => LlmEngine.load({ model: "models/demo", replicasOnHost: 2 });
const replicas = await Promise.all([load(), load()]);
await using router = new ReplicaRouter(replicas);

async function ask(question: string): Promise<string> {
  const messages = [{ role: "user", content: question }];
  const { tokenIds } = await replicas[0].text!.renderChat(messages);
  const sampling = { temperature: 0, maxTokens: 40 };
  let answer = "";
  for await (const chunk of router.generate({ promptTokenIds: tokenIds, sampling })) {
    answer += chunk.text;
  }
  return answer;
}

const answers = await Promise.all(questions.map(ask));
questions.forEach((question, i) => console.log(`${question} -> ${answers[i]}`));

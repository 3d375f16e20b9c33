/** The demo model answers its questions exactly, through chat over HTTP, on every layout. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { startServe } from "./serve_process.ts";

interface Question {
  readonly question: string;
  readonly answer: string;
  readonly prompt_token_ids: number[];
  readonly token_ids: number[];
}

const QUESTIONS: Question[] = JSON.parse(
  Deno.readTextFileSync(new URL("../../models/demo/questions.json", import.meta.url)),
);

const LAYOUTS = [
  [],
  ["--tensor-parallel-size", "2"],
  ["--tensor-parallel-size", "4"],
  ["--pipeline-parallel-size", "2"],
  ["--pipeline-parallel-size", "4"],
  ["--tensor-parallel-size", "2", "--pipeline-parallel-size", "2"],
  ["--data-parallel-size", "2", "--tensor-parallel-size", "2"],
  ["--tensor-parallel-size", "2", "--launcher", "process"],
  ["--pipeline-parallel-size", "2", "--launcher", "process"],
];

for (const layout of LAYOUTS) {
  Deno.test(`demo model: every question over chat ${layout.join(" ")}`, async () => {
    await using server = await startServe(...layout);
    const answers = await Promise.all(QUESTIONS.map(async ({ question }) => {
      const response = await fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          messages: [{ role: "user", content: question }],
          temperature: 0,
          return_token_ids: true,
        }),
      });
      return await response.json();
    }));
    QUESTIONS.forEach((expected, i) => {
      const choice = answers[i].choices[0];
      assertEquals(choice.message.content, expected.answer);
      assertEquals(choice.finish_reason, "stop");
      assertEquals(choice.prompt_token_ids, expected.prompt_token_ids);
      assertEquals(choice.token_ids, expected.token_ids);
    });
    assertEquals(await server.stop(), 0);
  });
}

Deno.test("serve: the curl of the ready line works as it stands", async () => {
  await using server = await startServe();
  const command = server.readyLine.slice(server.readyLine.indexOf("try: ") + 5);
  assertStringIncludes(command, "curl ");
  const { code, stdout } = await new Deno.Command("sh", { args: ["-c", command] }).output();
  assertEquals(code, 0);
  const answer = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(answer.choices[0].finish_reason, "stop");
});

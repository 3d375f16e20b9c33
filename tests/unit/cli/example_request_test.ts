import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { exampleRequest } from "../../../src/cli/example_request.ts";

const url = "http://127.0.0.1:8000";

/** The arguments that a shell hands to curl. */
async function shellArguments(command: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", command.replace(/^curl /, "printf '%s\\0' ")],
    env: { WEFT_API_KEY: "secret" },
  }).output();
  return new TextDecoder().decode(stdout).split("\0").slice(0, -1);
}

Deno.test("a model with a chat template is asked a question, whatever its name", async () => {
  const model = `it's "quoted" $HOME`;
  const command = exampleRequest({ url, model, needsKey: false, input: "chat" });
  const [address, , header, , body] = await shellArguments(command);
  assertEquals(address, `${url}/v1/chat/completions`);
  assertEquals(header, "Content-Type: application/json");
  const { messages, ...rest } = JSON.parse(body);
  assertEquals(rest, { model, temperature: 0 });
  assertMatch(messages[0].content, /tensor parallelism/);
});

Deno.test("without a template text is continued, without a tokenizer token ids are", async () => {
  const text = await shellArguments(
    exampleRequest({ url, model: "m", needsKey: false, input: "text" }),
  );
  assertEquals(text[0], `${url}/v1/completions`);
  assertEquals(typeof JSON.parse(text.at(-1)!).prompt, "string");
  const tokens = await shellArguments(
    exampleRequest({ url, model: "m", needsKey: false, input: "tokens" }),
  );
  assertEquals(JSON.parse(tokens.at(-1)!).prompt, [1, 2, 3]);
});

Deno.test("the key is taken from the environment and not printed", async () => {
  const command = exampleRequest({ url, model: "m", needsKey: true, input: "text" });
  assertStringIncludes(command, "$WEFT_API_KEY");
  assertEquals((await shellArguments(command)).includes("Authorization: Bearer secret"), true);
});

/**
 * A curl command that shows a server at work.
 * @module
 */

/** What the command has to fit. */
export interface ExampleRequestOptions {
  /** Address of the server. */
  readonly url: string;
  /** Name of the model in the API. */
  readonly model: string;
  /** Whether the server asks for a key; the command then takes it from `$WEFT_API_KEY`. */
  readonly needsKey: boolean;
  /** What the model understands: conversations, text, or token ids only. */
  readonly input: "chat" | "text" | "tokens";
}

/** A curl command that works as it stands in a shell. */
export function exampleRequest(options: ExampleRequestOptions): string {
  const { url, model, needsKey, input } = options;
  const path = input === "chat" ? "/v1/chat/completions" : "/v1/completions";
  const question = { role: "user", content: "Hi, what is tensor parallelism?" };
  const body = input === "chat"
    ? { model, messages: [question], temperature: 0 }
    : { model, prompt: input === "text" ? "Once upon a time" : [1, 2, 3], max_tokens: 16 };
  // Double quotes: the shell puts the key in.
  const key = needsKey ? ' -H "Authorization: Bearer $WEFT_API_KEY"' : "";
  return `curl ${url}${path} -H 'Content-Type: application/json'${key} -d ${
    shellQuote(JSON.stringify(body))
  }`;
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

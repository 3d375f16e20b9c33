/** Clients of an OpenAI-compatible server. */

/** What a burst of clients saw. */
export interface Burst {
  /** Seconds until each client had its first token. */
  readonly firstToken: readonly number[];
  /** Seconds until all were served. */
  readonly seconds: number;
  /** Tokens that were generated. */
  readonly tokens: number;
}

/** Options of {@linkcode burst}. */
export interface BurstOptions {
  /** Address of the server. */
  readonly url: string;
  /** One prompt of token ids a client. */
  readonly prompts: readonly (readonly number[])[];
  /** Tokens that each client wants, and gets. */
  readonly maxTokens: number;
}

/**
 * One client for each prompt, all at once, each streaming its completion. Throws Error when a client
 * is refused or gets another number of tokens than it wants.
 */
export async function burst(options: BurstOptions): Promise<Burst> {
  const { prompts, maxTokens } = options;
  const start = performance.now();
  const firstToken = await Promise.all(prompts.map((prompt) => complete(prompt, options)));
  return {
    firstToken,
    seconds: (performance.now() - start) / 1000,
    tokens: prompts.length * maxTokens,
  };
}

/** Streams one completion; resolves with the seconds until its first token. */
async function complete(prompt: readonly number[], options: BurstOptions): Promise<number> {
  const { url, maxTokens } = options;
  const start = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "bench",
      prompt,
      max_tokens: maxTokens,
      temperature: 0,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  if (!response.ok) {
    throw new Error(`Cannot complete at ${url}: status is ${response.status}, ${await response
      .text()}`);
  }
  let first: number | null = null;
  let tokens: number | null = null;
  for await (const event of serverSentEvents(response.body!)) {
    first ??= (performance.now() - start) / 1000;
    tokens = completionTokens(event) ?? tokens;
  }
  if (first === null || tokens !== maxTokens) {
    throw new Error(
      `Cannot count a completion of ${url} as it has ${tokens} of ${maxTokens} tokens`,
    );
  }
  return first;
}

function completionTokens(event: string): number | null {
  if (event === "[DONE]") return null;
  return JSON.parse(event).usage?.completion_tokens ?? null;
}

/** The data of each event of a stream. */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + text).split("\n\n");
    rest = events.pop()!;
    for (const event of events) {
      if (event.startsWith("data: ")) yield event.slice("data: ".length);
    }
  }
}

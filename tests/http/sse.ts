/** Reads server-sent events of a completion stream. */

/** One streamed answer. */
export interface Streamed {
  /** Parsed data events, `[DONE]` left out. */
  // deno-lint-ignore no-explicit-any
  readonly events: any[];
  /** Whether the stream ended with `[DONE]`. */
  readonly done: boolean;
}

/** Consumes a whole event stream. */
export async function readEvents(response: Response): Promise<Streamed> {
  const text = await response.text();
  const data = text.split("\n\n").filter((event) => event.startsWith("data: "))
    .map((event) => event.slice("data: ".length));
  return {
    events: data.filter((event) => event !== "[DONE]").map((event) => JSON.parse(event)),
    done: data.at(-1) === "[DONE]",
  };
}

/**
 * Golden prompts in a file.
 * @module
 */
import { TextProcessor } from "../text/text_processor.ts";

/** A golden prompt as the API takes it. */
export interface GoldenLine {
  /** Token ids. */
  readonly prompt: readonly number[];
  /** How the answer begins. */
  readonly expected?: readonly number[];
  /** Tokens to generate. */
  readonly max_tokens?: number;
}

/**
 * Reads JSON lines of `{"prompt": [ids] or "text", "expected"?: [ids], "max_tokens"?: n}`. Texts become tokens by
 * the tokenizer of the folder `model`. Throws Error, which names the line.
 */
export async function readGoldenFile(path: string, model: string): Promise<GoldenLine[]> {
  const lines = (await Deno.readTextFile(path)).split("\n");
  using tokenizer = new LazyTokenizer(model);
  const golden: GoldenLine[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    try {
      golden.push(await readLine(line, tokenizer));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`Cannot read line ${index + 1} of ${path}: ${reason}`, { cause: error });
    }
  }
  return golden;
}

async function readLine(line: string, tokenizer: LazyTokenizer): Promise<GoldenLine> {
  const { prompt, ...rest } = JSON.parse(line);
  const unknown = Object.keys(rest).find((key) => key !== "expected" && key !== "max_tokens");
  if (unknown !== undefined) throw new Error(`the field is unknown: ${unknown}`);
  // The server checks what stands in the fields.
  return { prompt: typeof prompt === "string" ? await tokenizer.encode(prompt) : prompt, ...rest };
}

/** Loaded with the first text. */
class LazyTokenizer implements Disposable {
  readonly #model: string;
  #text: TextProcessor | null = null;

  constructor(model: string) {
    this.#model = model;
  }

  async encode(text: string): Promise<number[]> {
    this.#text ??= await TextProcessor.load(this.#model);
    if (this.#text === null) throw new Error("the folder has no tokenizer: give token ids");
    return await this.#text.encode(text);
  }

  [Symbol.dispose](): void {
    this.#text?.[Symbol.dispose]();
  }
}

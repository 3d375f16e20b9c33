/**
 * Chat templates: Jinja, run by a sandboxed interpreter.
 * @module
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import type { PlainChatMessage } from "./chat_message.ts";
import { strftime } from "./strftime.ts";
import { messageOf, TextError } from "./text_error.ts";

/** How to render a conversation. */
export interface RenderChatOptions {
  /** End with the header of the assistant's next message. Default: true unless the final message is continued. */
  readonly addGenerationPrompt?: boolean;
  /** Leave the final message open, so that generation continues it. Default false. */
  readonly continueFinalMessage?: boolean;
  /** Further variables of the template, such as `enable_thinking`; JSON values. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
}

/** Variables that a template finds besides the messages: special tokens by name. */
export type TemplateGlobals = Readonly<Record<string, string | readonly string[]>>;

/** Marks the end of the message to continue; private-use characters don't occur in text. */
const END_OF_FINAL_MESSAGE = "\uE0F0\uE0F1\uE0F2";
/** `range` builds an array before anybody can count its elements. */
const MAX_RANGE = 100_000;

/**
 * A compiled chat template. Its variables are those of Hugging Face transformers: `messages`,
 * `tools`, `documents`, `add_generation_prompt`, the special tokens, `raise_exception` and
 * `strftime_now`.
 */
export class ChatTemplate {
  readonly #program: ReturnType<typeof parse>;
  readonly #globals: TemplateGlobals;

  /**
   * Compiles `source`.
   *
   * @throws {TextError} when it does not parse.
   */
  constructor(source: string, globals: TemplateGlobals) {
    this.#globals = globals;
    try {
      this.#program = parse(
        tokenize(withoutGenerationTags(source), { lstrip_blocks: true, trim_blocks: true }),
      );
    } catch (error) {
      throw new TextError(`Cannot parse the chat template: ${messageOf(error)}`, "template", {
        cause: error,
      });
    }
  }

  /**
   * Renders a conversation.
   *
   * @throws {TextError} when the template raises an exception or fails, or the options exclude each other.
   */
  render(messages: readonly PlainChatMessage[], options: RenderChatOptions = {}): string {
    const { continueFinalMessage = false, templateVariables = {} } = options;
    const addGenerationPrompt = options.addGenerationPrompt ?? !continueFinalMessage;
    if (!continueFinalMessage) {
      return this.#run(messages, addGenerationPrompt, templateVariables);
    }
    if (addGenerationPrompt) {
      throw new TextError(
        "Cannot continue the final message and add a generation prompt at once",
        "input",
      );
    }
    const final = messages[messages.length - 1];
    const marked = { ...final, content: final.content + END_OF_FINAL_MESSAGE };
    const text = this.#run([...messages.slice(0, -1), marked], false, templateVariables);
    const end = text.lastIndexOf(END_OF_FINAL_MESSAGE);
    if (end < 0) {
      throw new TextError(
        "Cannot continue the final message as the chat template does not render it",
        "template",
      );
    }
    return text.slice(0, end);
  }

  #run(
    messages: readonly PlainChatMessage[],
    addGenerationPrompt: boolean,
    variables: Readonly<Record<string, unknown>>,
  ): string {
    const environment = new Environment();
    const globals: Record<string, unknown> = {
      ...this.#globals,
      ...BUILTINS,
      messages,
      tools: null,
      documents: null,
      add_generation_prompt: addGenerationPrompt,
    };
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    for (const [name, value] of Object.entries(variables)) {
      if (environment.variables.has(name)) {
        throw new TextError(
          `Cannot set the template variable as its name is taken: ${name}`,
          "input",
        );
      }
      environment.set(name, value);
    }
    try {
      return String(new Interpreter(environment).run(this.#program).value);
    } catch (error) {
      if (error instanceof TextError) throw error;
      throw new TextError(`Cannot render the chat template: ${messageOf(error)}`, "template", {
        cause: error,
      });
    }
  }
}

const BUILTINS: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
  raise_exception: (message: unknown): never => {
    throw new TextError(`The chat template refused the messages: ${message}`, "template");
  },
  strftime_now: (format: unknown): string => strftime(new Date(), String(format)),
};

function range(first: unknown, second?: unknown, third?: unknown): number[] {
  const [start, stop] = second === undefined ? [0, Number(first)] : [Number(first), Number(second)];
  const step = third === undefined ? 1 : Number(third);
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= MAX_RANGE)) {
    throw new TextError(
      `Cannot build a range of more than ${MAX_RANGE} numbers: current value is ${count}`,
      "template",
    );
  }
  return Array.from({ length: count }, (_, index) => start + index * step);
}

/**
 * `{% generation %}` blocks mark what a training loss counts. The interpreter doesn't know them;
 * a condition that always holds has the same effect on the text, white space included.
 */
function withoutGenerationTags(source: string): string {
  return source
    .replace(/(\{%[-+]?\s*)generation(\s*[-+]?%\})/g, "$1if true$2")
    .replace(/(\{%[-+]?\s*)endgeneration(\s*[-+]?%\})/g, "$1endif$2");
}

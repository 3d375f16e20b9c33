/**
 * Worker entry: runs one {@linkcode TextModel} and its open streams.
 * @module
 */
import type { Detokenizer } from "./detokenizer.ts";
import { messageOf, TextError } from "./text_error.ts";
import { TextModel } from "./text_model.ts";
import type {
  CallResult,
  FromTextWorker,
  TextCall,
  ToTextWorker,
  WireError,
} from "./text_protocol.ts";

/** The part of a dedicated worker's scope that is used; Deno's default types leave it out. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToTextWorker>) => void) | null;
  postMessage(message: FromTextWorker): void;
}

/** Executes calls in order against one model. */
class TextCallRunner {
  readonly #model: TextModel;
  readonly #streams = new Map<number, Detokenizer>();

  constructor(model: TextModel) {
    this.#model = model;
  }

  run(call: TextCall): CallResult {
    try {
      return { value: this.#execute(call) };
    } catch (error) {
      return { error: toWire(error) };
    }
  }

  #execute(call: TextCall): unknown {
    switch (call.kind) {
      case "encode":
        return this.#model.encode(call.text, { addSpecialTokens: call.addSpecialTokens });
      case "renderChat":
        return this.#model.renderChat(call.messages, call.options);
      case "decode":
        return this.#model.decode(call.tokenIds, { skipSpecialTokens: call.skipSpecialTokens });
      case "tokenTexts":
        return this.#model.tokenTexts(call.tokenIds);
      case "openStream": {
        const detokenizer = this.#model.openDetokenizer(call.options);
        detokenizer.push(call.history, false);
        this.#streams.set(call.stream, detokenizer);
        return null;
      }
      case "push": {
        const detokenizer = this.#streams.get(call.stream);
        if (detokenizer === undefined) throw new TextError("The stream is closed", "closed");
        return detokenizer.push(call.tokenIds, call.last);
      }
      case "closeStream":
        this.#streams.delete(call.stream);
        return null;
    }
  }
}

function toWire(error: unknown): WireError {
  const reason = error instanceof TextError ? error.reason : "input";
  return { message: messageOf(error), reason };
}

const scope = globalThis as unknown as WorkerScope;
let runner: TextCallRunner | null = null;

scope.onmessage = ({ data }) => {
  if ("load" in data) {
    try {
      const model = TextModel.load(data.load.folder, data.load.options);
      runner = new TextCallRunner(model);
      scope.postMessage({ loaded: model.info });
    } catch (error) {
      scope.postMessage({ failed: toWire(error) });
    }
    return;
  }
  const current = runner;
  if (current === null) throw new Error("Calls came before the model was loaded");
  scope.postMessage({ results: data.calls.map((call) => current.run(call)) });
};

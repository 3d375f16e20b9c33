/** Splits text into lines, as the class of this name in @std/streams does. */
export class TextLineStream extends TransformStream<string, string> {
  /** Holds back an incomplete line until its end arrives. */
  constructor() {
    let rest = "";
    super({
      transform(text, controller) {
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) controller.enqueue(line);
      },
      flush(controller) {
        if (rest) controller.enqueue(rest);
      },
    });
  }
}

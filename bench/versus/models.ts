/** Checkpoints with random weights, made once and kept in a cache. */
import { writeGguf } from "./gguf_model.ts";
import { ONNX_FILE, type OnnxFormat, writeOnnx } from "./onnx_model.ts";
import { configOf, type FormatName, FORMATS, presetOf, type ShapeName } from "./shapes.ts";
import type { Weft } from "./weft.ts";

/** The folder of checkpoints and of the peers' files. */
export class Models {
  readonly #folder: string;
  readonly #weft: Weft;
  readonly #log: (line: string) => void;

  /** Keeps them in `folder`. */
  constructor(
    folder: string,
    options: { readonly weft: Weft; readonly log: (line: string) => void },
  ) {
    this.#folder = folder;
    this.#weft = options.weft;
    this.#log = options.log;
    Deno.mkdirSync(folder, { recursive: true });
  }

  /** Path of the GGUF file of a model. */
  gguf(shape: ShapeName, format: FormatName): string {
    const type = FORMATS[format].gguf;
    const path = `${this.#folder}/${presetOf(shape)}-${type}.gguf`;
    if (exists(path)) return path;
    this.#log(`writing ${path}`);
    // A rename comes last: an interrupted file is not taken for a whole one.
    writeGguf(`${path}.part`, { config: configOf(shape), format: type });
    Deno.renameSync(`${path}.part`, path);
    return path;
  }

  /** Path of the ONNX model. */
  onnx(shape: ShapeName, format: OnnxFormat): string {
    const folder = `${this.#folder}/${presetOf(shape)}-${format}-onnx`;
    if (!exists(folder)) {
      this.#log(`writing ${folder}`);
      const work = Deno.makeTempDirSync({ dir: this.#folder, prefix: "build-" });
      writeOnnx(work, { config: configOf(shape), format });
      Deno.renameSync(work, folder);
    }
    return `${folder}/${ONNX_FILE}`;
  }

  /** Folder of weft's checkpoint of a model. */
  async checkpoint(shape: ShapeName, format: FormatName): Promise<string> {
    const dtype = FORMATS[format].checkpoint;
    const preset = presetOf(shape);
    const path = `${this.#folder}/${preset}-${dtype}`;
    if (exists(path)) return path;
    this.#log(`writing ${path}`);
    const work = await Deno.makeTempDir({ dir: this.#folder, prefix: "build-" });
    try {
      await this.#weft.initModel({ preset, dtype, out: `${work}/model` });
      await Deno.rename(`${work}/model`, path);
    } finally {
      await Deno.remove(work, { recursive: true });
    }
    return path;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

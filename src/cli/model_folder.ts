/**
 * Which model folder a command works on.
 * @module
 */
import { cacheFolder } from "../native/cache.ts";
import type { CliHost } from "./command.ts";
import { demoModelFolder } from "./demo_model.ts";

/** A model folder and the name by which it is called. */
export interface NamedModel {
  /** Path of the folder. */
  readonly folder: string;
  /** Last part of the path, or `demo`. */
  readonly name: string;
}

/** The folder that was named, or that of the built-in demo model; throws when it is not there. */
export async function modelFolder(named: string | undefined, host: CliHost): Promise<NamedModel> {
  if (named === undefined) {
    host.log.info("no --model was given: using the built-in demo model");
    return {
      folder: await demoModelFolder({ cacheFolder, log: host.log }),
      name: "demo",
    };
  }
  try {
    const folder = await Deno.realPath(named);
    return { folder, name: folder.slice(folder.lastIndexOf("/") + 1) || "model" };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`Cannot find the model folder: ${named}`);
  }
}

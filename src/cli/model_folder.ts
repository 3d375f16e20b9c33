/**
 * Which model folder a command works on.
 * @module
 */
import { cacheFolder } from "../native/compile.ts";
import type { CliHost } from "./command.ts";
import { demoModelFolder } from "./demo_model.ts";

/** The folder that was named, without a slash at its end, or that of the built-in demo model. */
export async function modelFolder(named: string | undefined, host: CliHost): Promise<string> {
  if (named !== undefined) return named.replace(/(?<=.)\/+$/, "");
  host.log.info("no --model was given: using the built-in demo model");
  return await demoModelFolder({ cacheFolder, log: host.log });
}

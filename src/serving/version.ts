/**
 * Version of the program.
 * @module
 */
import manifest from "../../deno.json" with { type: "json" };

/** As the package names it. */
export const VERSION: string = manifest.version;

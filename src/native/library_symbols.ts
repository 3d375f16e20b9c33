/**
 * The type of a library's functions.
 * @module
 */

/** The functions that a table of declarations names, as `Deno.dlopen` types them. */
export type LibrarySymbols<S extends Deno.ForeignLibraryInterface> = Deno.DynamicLibrary<
  S
>["symbols"];

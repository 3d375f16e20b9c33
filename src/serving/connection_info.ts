/**
 * Where a request comes from.
 * @module
 */

/** The client's end of a connection, as `Deno.serve` tells it to a handler. */
export interface ConnectionInfo {
  /** Its address. */
  readonly remoteAddr: {
    /** Address of the host. */
    readonly hostname: string;
    /** Port. */
    readonly port: number;
  };
}

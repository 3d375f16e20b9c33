/** The programs that weft is compared with. */

/** Name of a peer on the command line. */
export type PeerName = "llama.cpp" | "onnxruntime-node";

/** All peers. */
export const PEER_NAMES: readonly PeerName[] = ["llama.cpp", "onnxruntime-node"];

/** What a peer is, for the JSON. */
export interface PeerDescription {
  /** Its name. */
  readonly name: PeerName;
  /** Its version. */
  readonly version: string;
  /** Where it came from and with which flags it was built. */
  readonly origin: string;
}

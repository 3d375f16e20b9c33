/**
 * Fingerprints of answers.
 * @module
 */
import { createHash } from "node:crypto";
import type { EngineInfo } from "../engine/types.ts";

/** Parts of {@linkcode EngineInfo.backend} on which the bits of an answer depend. */
const NUMERIC_PARTS = ["device", "instructionSet", "kernels", "weights"] as const;

/**
 * Equal for engines that give equal bits with equal weights: layout and threads do not enter on a CPU
 * (NUMERICS.md 10), while on GPUs libraries choose the order of sums by the layout.
 */
export function backendFingerprint({ architecture, vocabSize, backend }: EngineInfo): string {
  const names = backend.device === "cuda" ? [...NUMERIC_PARTS, "layout"] : NUMERIC_PARTS;
  const parts = names.map((name) => backend[name] ?? null);
  return `fp_${digest(JSON.stringify([architecture, vocabSize, ...parts]), 12)}`;
}

/** The fingerprint of answers that weights of a version give on a backend. */
export function answerFingerprint(backend: string, weightVersion: string): string {
  return `${backend}_${digest(weightVersion, 8)}`;
}

function digest(text: string, length: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, length);
}

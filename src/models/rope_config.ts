/**
 * Rotary embedding settings, in the spelling of transformers 4 (`rope_theta` and `rope_scaling`) and
 * of transformers 5 (`rope_parameters`).
 * @module
 */
import type { RopeConfig, RopeScaling } from "../layers/rotary_embedding.ts";
import { LIMITS } from "./config_common.ts";
import type { ConfigReader } from "./config_reader.ts";

const FACTOR = { min: 1, max: 1e6 } as const;

const KNOWN = { inert: [], inertAt: { partial_rotary_factor: [1, null] } } as const;

/** Reads the settings; `theta` is the family's default base, `rotaryDim` is the head's size. */
export function readRope(
  reader: ConfigReader,
  options: { theta: number; rotaryDim: number },
): RopeConfig {
  const { rotaryDim } = options;
  if (rotaryDim % 2 !== 0) reader.refuse("head_dim", "must be even to be rotated");
  const thetaRule = { min: 1, max: 1e15 };
  const topTheta = reader.value("rope_theta") === null
    ? null
    : reader.number("rope_theta", thetaRule);

  const readings = ["rope_parameters", "rope_scaling"].flatMap((key) => {
    const nested = reader.object(key);
    if (!nested) return [];
    const theta = nested.value("rope_theta") === null
      ? topTheta ?? options.theta
      : nested.number("rope_theta", thetaRule);
    if (topTheta !== null && theta !== topTheta) {
      nested.refuse("rope_theta", `contradicts the key "rope_theta" (${topTheta})`);
    }
    return [{ key, config: { theta, rotaryDim, scaling: readScaling(nested) } }];
  });
  if (readings.length === 0) {
    return { theta: topTheta ?? options.theta, rotaryDim, scaling: { type: "default" } };
  }
  const [first, second] = readings;
  if (second && JSON.stringify(first.config) !== JSON.stringify(second.config)) {
    reader.refuse(second.key, `contradicts the key "${first.key}"`);
  }
  return first.config;
}

function readScaling(reader: ConfigReader): RopeScaling {
  const oldName = reader.string("type");
  const name = reader.string("rope_type") ?? oldName;
  if (oldName !== null && oldName !== name) reader.refuse("type", `contradicts "rope_type"`);
  let scaling: RopeScaling;
  switch (name ?? "default") {
    case "default":
      scaling = { type: "default" };
      break;
    case "linear":
      scaling = { type: "linear", factor: reader.number("factor", FACTOR) };
      break;
    case "llama3":
      scaling = readLlama3(reader);
      break;
    default:
      reader.refuse(
        oldName === null ? "rope_type" : "type",
        "is implemented only as default, linear or llama3",
      );
  }
  reader.finish(KNOWN, `rope type ${scaling.type}`);
  return scaling;
}

function readLlama3(reader: ConfigReader): RopeScaling {
  const lowFreqFactor = reader.number("low_freq_factor", { min: 1e-3, max: 1e6 });
  const highFreqFactor = reader.number("high_freq_factor", { min: 1e-3, max: 1e6 });
  // Between the two the scaling is interpolated: equal factors would divide by zero.
  if (highFreqFactor <= lowFreqFactor) {
    reader.refuse("high_freq_factor", `must be above low_freq_factor ${lowFreqFactor}`);
  }
  return {
    type: "llama3",
    factor: reader.number("factor", FACTOR),
    lowFreqFactor,
    highFreqFactor,
    originalMaxPositionEmbeddings: reader.integer(
      "original_max_position_embeddings",
      LIMITS.positions,
    ),
  };
}

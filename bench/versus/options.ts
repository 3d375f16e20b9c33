/** The command line of the benchmark. */
import { type Flag, integer, text } from "../../src/cli/flag_types.ts";
import { parseFlags, UsageError } from "../../src/cli/parse_flags.ts";
import { PART_NAMES, type PartName } from "./part.ts";
import { PEER_NAMES, type PeerName } from "./peer.ts";
import { FORMAT_NAMES, type FormatName, SHAPE_NAMES, type ShapeName } from "./shapes.ts";

/** What is to be measured. */
export interface VersusOptions {
  /** Parts, in the order of the table. */
  readonly parts: readonly PartName[];
  /** Shapes of models. */
  readonly shapes: readonly ShapeName[];
  /** Formats of weights; null takes those that each part is meant for. */
  readonly formats: readonly FormatName[] | null;
  /** Runs of each side. */
  readonly runs: number;
  /** Threads of each side. */
  readonly threads: number;
  /** Folders of peers that are there already. */
  readonly peerFolders: ReadonlyMap<PeerName, string>;
  /** Peers that are left out. */
  readonly without: ReadonlySet<PeerName>;
  /** File that receives the JSON. */
  readonly out: string;
}

const FLAGS = {
  parts: text({
    placeholder: "A,B",
    shownDefault: "all",
    help: `What to measure: ${PART_NAMES.join(", ")}`,
  }),
  shapes: text({
    placeholder: "A,B",
    fallback: SHAPE_NAMES.join(","),
    help: `Shapes of models: ${SHAPE_NAMES.join(", ")}`,
  }),
  formats: text({
    placeholder: "A,B",
    shownDefault: "those with a target, and all for prefill and decode",
    help: `Formats of weights: ${FORMAT_NAMES.join(", ")}`,
  }),
  runs: integer({ min: 1, max: 1000, fallback: 5, help: "Runs of each side, taken in turns" }),
  threads: integer({ min: 1, max: 1024, fallback: 2, help: "Threads of each side" }),
  peer: text({
    placeholder: "NAME=DIR",
    repeatable: true,
    help: `A peer's programs, instead of building them: ${PEER_NAMES.join(", ")}`,
  }),
  without: text({
    placeholder: "A,B",
    help: `Peers to leave out: ${PEER_NAMES.join(", ")}`,
  }),
  out: text({
    placeholder: "FILE",
    fallback: "versus.json",
    help: "File that receives every sample, as JSON",
  }),
};

/** Reads the command line; null when it asks for help. Throws UsageError when it is wrong. */
export function readOptions(args: readonly string[]): VersusOptions | null {
  const { values, given, help } = parseFlags(args, { table: FLAGS, env: () => undefined });
  if (help) return null;
  const peers = given.filter(({ name }) => name === "peer").map(({ value }) => String(value));
  return {
    parts: values.parts === undefined ? PART_NAMES : words("parts", values.parts, PART_NAMES),
    shapes: words("shapes", values.shapes, SHAPE_NAMES),
    formats: values.formats === undefined ? null : words("formats", values.formats, FORMAT_NAMES),
    runs: values.runs,
    threads: values.threads,
    peerFolders: new Map(peers.map(readPeer)),
    without: new Set(
      values.without === undefined ? [] : words("without", values.without, PEER_NAMES),
    ),
    out: values.out,
  };
}

/** The text of `--help`. */
export function optionsHelp(): string {
  const lines = Object.entries(FLAGS as Readonly<Record<string, Flag<unknown>>>)
    .map(([name, { placeholder, help, shownDefault }]) => {
      const flag = `--${name} ${placeholder}`.padEnd(18);
      return `  ${flag}  ${help}${shownDefault === "" ? "" : ` (${shownDefault})`}`;
    });
  return ["Usage: deno run -A bench/versus/main.ts [flags]", "", ...lines].join("\n");
}

/** The words of a list that commas separate, each once, in the order of `known`. */
function words<T extends string>(flag: string, list: string, known: readonly T[]): T[] {
  const given = list.split(",").map((word) => word.trim());
  const unknown = given.filter((word) => !known.includes(word as T));
  if (unknown.length > 0) {
    throw new UsageError(
      `Cannot read --${flag} as its words are ${known.join(", ")}: current value is ${unknown[0]}`,
    );
  }
  return known.filter((word) => given.includes(word));
}

function readPeer(given: string): [PeerName, string] {
  const [, name, folder] = /^([^=]+)=(.+)$/.exec(given) ?? [];
  if (!PEER_NAMES.includes(name as PeerName)) {
    throw new UsageError(
      `Cannot read --peer as it needs NAME=DIR with a name of ${PEER_NAMES.join(", ")}: ` +
        `current value is ${given}`,
    );
  }
  return [name as PeerName, folder];
}

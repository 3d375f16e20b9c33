/**
 * The text of `--help`.
 * @module
 */
import { ENGINE_FLAGS, type FlagTable } from "./flags.ts";
import { environmentName } from "./parse_flags.ts";

/** What help needs to know of a command. */
export interface HelpTopic {
  /** Words that follow `weft`. */
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** A command line that works as it stands. */
  readonly example: string;
  /** Its flags. */
  readonly flags: FlagTable;
}

/** Help of one command: its own flags, then the engine's. */
export function commandHelp(topic: HelpTopic): string {
  const entries = Object.entries(topic.flags);
  const own = entries.filter(([name, flag]) => !isEngineFlag(name, flag));
  const engine = entries.filter(([name, flag]) => isEngineFlag(name, flag));
  return [
    `${topic.summary}\n`,
    `Usage: weft ${topic.name} [flags]`,
    `Example: ${topic.example}`,
    ...section("Flags", own),
    ...section("Engine flags", engine),
    "",
    "A flag wins over its environment variable, which wins over the default. The variable of",
    `--max-model-len is ${
      environmentName("max-model-len")
    }, and so on; flags that may be repeated have none.`,
  ].join("\n");
}

/** Help of the whole program: its commands. */
export function programHelp(
  commands: readonly { readonly name: string; readonly summary: string }[],
): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  return [
    "weft: distributed LLM inference on Deno\n",
    "Usage: weft COMMAND [flags]\n",
    "Commands:",
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "Flags:",
    "  --help     Show this, or the help of the command that it follows",
    "  --version  Show the version",
  ].join("\n");
}

function isEngineFlag(name: string, flag: FlagTable[string]): boolean {
  return (ENGINE_FLAGS as FlagTable)[name] === flag;
}

function section(title: string, entries: readonly [string, FlagTable[string]][]): string[] {
  if (entries.length === 0) return [];
  const heads = entries.map(([name, { short, placeholder, fallback }]) => {
    const long = fallback === true ? `--[no-]${name}` : `--${name}`;
    return `${short === "" ? "" : `-${short}, `}${long} ${placeholder}`.trimEnd();
  });
  const width = Math.min(32, Math.max(...heads.map((head) => head.length)));
  const lines = entries.map(([, flag], index) => {
    const fallback = flag.shownDefault === "" ? "" : ` (default: ${flag.shownDefault})`;
    const gap = heads[index].length > width ? `\n  ${"".padEnd(width)}` : "";
    return `  ${heads[index].padEnd(width)}${gap}  ${flag.help}${fallback}`;
  });
  return ["", `${title}:`, ...lines];
}

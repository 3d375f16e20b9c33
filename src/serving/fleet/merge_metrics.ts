/**
 * Metrics of several engines as those of one server.
 * @module
 */

/** What one engine's server says in Prometheus' text format. */
export interface EngineMetrics {
  /** Number of the engine. */
  readonly engine: string;
  /** What it says. */
  readonly text: string;
}

/** A sample: name, labels within braces, value and whatever follows. */
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?(\s.*)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** Suffixes of the samples of a histogram or summary. */
const PARTS = /_(?:bucket|sum|count)$/;

/**
 * One text of all: every sample bears the label `engine` of where it came from, and those of one name stand
 * together, as the format asks for.
 */
export function mergeMetrics(all: readonly EngineMetrics[]): string {
  const families = new Map<string, { readonly comments: string[]; readonly samples: string[] }>();
  const family = (name: string) => {
    const known = families.get(name) ?? { comments: [], samples: [] };
    families.set(name, known);
    return known;
  };
  for (const { engine, text } of all) {
    for (const line of text.split("\n")) {
      const comment = /^# (?:HELP|TYPE) (\S+)/.exec(line);
      const sample = SAMPLE.exec(line);
      if (comment !== null) {
        const { comments } = family(comment[1]);
        if (!comments.includes(line)) comments.push(line);
      } else if (sample !== null) {
        const [, name, labels = "", rest] = sample;
        const base = name.replace(PARTS, "");
        family(families.has(name) || !families.has(base) ? name : base).samples.push(
          `${name}{${withEngine(labels, engine)}}${rest}`,
        );
      }
    }
  }
  return [...families.values()]
    .map(({ comments, samples }) => [...comments, ...samples, ""].join("\n"))
    .join("\n");
}

function withEngine(labels: string, engine: string): string {
  const pairs = [...labels.matchAll(LABEL)].map(([pair, name]) => ({ pair, name }));
  const own = `engine="${engine}"`;
  return pairs.some(({ name }) => name === "engine")
    ? pairs.map(({ pair, name }) => name === "engine" ? own : pair).join(",")
    : [...pairs.map(({ pair }) => pair), own].join(",");
}

/** Runs sides in turns. */

/** Figures of one run, by name. */
export type Sample = Readonly<Record<string, number>>;

/** Something that is measured. */
export interface Side {
  /** Its name. */
  readonly name: string;
  /** One run. */
  run(): Promise<Sample>;
}

/** What became of a side: samples, or why there are none. */
export interface SideResult {
  /** One sample a run; null when a run failed. */
  readonly samples: readonly Sample[] | null;
  /** Why it failed. */
  readonly failure: string | null;
}

/** Options of {@linkcode alternate}. */
export interface AlternateOptions {
  /** Runs of each side. */
  readonly runs: number;
  /** Told of each sample. */
  readonly onSample?: (side: string, sample: Sample) => void;
}

/**
 * Runs each side `runs` times, A B A B and so on, so that what changes on the machine meets all of
 * them. A side that fails is run no more; the others go on. Results are in the order of `sides`.
 */
export async function alternate(
  sides: readonly Side[],
  options: AlternateOptions,
): Promise<SideResult[]> {
  const samples: Sample[][] = sides.map(() => []);
  const failures: (string | null)[] = sides.map(() => null);
  for (let run = 0; run < options.runs; run++) {
    for (const [index, side] of sides.entries()) {
      if (failures[index] !== null) continue;
      try {
        const sample = await side.run();
        samples[index].push(sample);
        options.onSample?.(side.name, sample);
      } catch (error) {
        failures[index] = error instanceof Error ? error.message : String(error);
      }
    }
  }
  return sides.map((_, index) => {
    const failure = failures[index];
    return { samples: failure === null ? samples[index] : null, failure };
  });
}

/** The figure `name` of all samples; null when there are none. */
export function figuresOf({ samples }: SideResult, name: string): number[] | null {
  return samples && samples.map((sample) => sample[name]);
}

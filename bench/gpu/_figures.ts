/** One measured figure; parts print each as a line of JSON. */
export interface Figure {
  /** What was measured, such as `decode 8b, batch 1`. */
  readonly name: string;
  /** The figure. */
  readonly value: number;
  /** Its unit. */
  readonly unit: string;
  /** What it is a share of, and the share. */
  readonly of?: "copy bandwidth" | "GEMM ceiling" | "step";
  /** 0 to 1. */
  readonly share?: number;
  /** How it was measured. */
  readonly details?: Readonly<Record<string, string | number>>;
}

/** What the GPU can do, measured in the same run. */
export interface Ceilings {
  /** Bytes read and written by a copy inside the device. */
  readonly copyBytesPerSecond: number;
  /** Floating-point operations of a bf16 product of 8192 x 8192 matrices by cuBLAS. */
  readonly gemmFlopsPerSecond: number;
}

/** Variable in which parts find the ceilings, as JSON. */
export const CEILINGS_VARIABLE = "WEFT_BENCH_CEILINGS";

/** The ceilings that this run has measured; shares are left out where there are none. */
export function knownCeilings(): Ceilings {
  const text = Deno.env.get(CEILINGS_VARIABLE);
  return text ? JSON.parse(text) : { copyBytesPerSecond: NaN, gemmFlopsPerSecond: NaN };
}

/** Prints a figure. */
export function report(figure: Figure): void {
  console.log(JSON.stringify(figure));
}

/** Prints what a piece of work reached: bandwidth when it moves bytes, else arithmetic. */
export function reportWork(
  name: string,
  work: { readonly seconds: number; readonly bytes?: number; readonly flops?: number },
): void {
  const { seconds, bytes, flops } = work;
  const ceilings = knownCeilings();
  const details = { microseconds: Number((seconds * 1e6).toPrecision(4)) };
  if (bytes !== undefined) {
    const rate = bytes / seconds;
    const share = rate / ceilings.copyBytesPerSecond;
    report({ name, value: rate / 1e9, unit: "GB/s", of: "copy bandwidth", share, details });
  }
  if (flops !== undefined) {
    const rate = flops / seconds;
    const share = rate / ceilings.gemmFlopsPerSecond;
    report({ name, value: rate / 1e12, unit: "TFLOP/s", of: "GEMM ceiling", share, details });
  }
}

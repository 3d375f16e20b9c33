const COMPILER = "aarch64-linux-gnu-gcc";
const EMULATORS = ["qemu-aarch64", "qemu-aarch64-static"];

/** Programs that build and run code for aarch64. */
export interface Aarch64Tools {
  readonly compiler: string;
  readonly compilerVersion: string;
  readonly emulator: string;
}

/** The tools, or null with a line that says what is missing. */
export function findAarch64Tools(): Aarch64Tools | null {
  const compilerVersion = firstLineOf(COMPILER);
  const emulator = EMULATORS.find((name) => firstLineOf(name) !== null);
  if (compilerVersion !== null && emulator !== undefined) {
    return { compiler: COMPILER, compilerVersion, emulator };
  }
  const missing = compilerVersion === null ? COMPILER : EMULATORS.join(" or ");
  console.error(
    `NOT CHECKED: kernels on NEON, as ${missing} was not found: ` +
      `apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user`,
  );
  return null;
}

function firstLineOf(command: string): string | null {
  try {
    const { success, stdout } = new Deno.Command(command, { args: ["--version"] }).outputSync();
    return success ? new TextDecoder().decode(stdout).split("\n")[0] : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

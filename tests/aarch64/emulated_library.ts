import { buildDispatcher } from "./build.ts";
import type { Aarch64Tools } from "./tools.ts";

/** Held open by the shell as well, so that the end of the program is an answer too. */
const RUN_SCRIPT = `exec < "$1/requests" > "$1/answers"
"$2" -cpu max "$3"
printf '\\1\\0\\0\\0\\0\\0\\0\\0'`;

/**
 * The native library for aarch64 as `Deno.dlopen` would open it: its functions run in an emulator, and
 * addresses are the emulator's. `close` ends it.
 */
export function openEmulatedLibrary<S extends Deno.ForeignLibraryInterface>(
  tools: Aarch64Tools,
  architectureFlags: readonly string[],
  symbols: S,
): Deno.DynamicLibrary<S> {
  const program = buildDispatcher(tools, architectureFlags, symbols);
  const connection = connect(tools.emulator, program);
  const functions = Object.entries(symbols).map(([name, symbol], number) => {
    if (!("parameters" in symbol)) throw new TypeError(`Cannot emulate ${name}: it is no function`);
    return [name, (...values: unknown[]) => call(connection, number, symbol, values)];
  });
  return {
    symbols: Object.fromEntries(functions),
    close: () => connection.close(),
  } as Deno.DynamicLibrary<S>;
}

interface Connection {
  write(bytes: Uint8Array): void;
  read(length: number): Uint8Array<ArrayBuffer>;
  close(): void;
}

function connect(emulator: string, program: string): Connection {
  const folder = Deno.makeTempDirSync({ prefix: "weft-aarch64-" });
  try {
    const pipes = [`${folder}/requests`, `${folder}/answers`];
    new Deno.Command("mkfifo", { args: pipes }).outputSync();
    // Detached: it ends when the pipes are closed, and leaves no child behind to be waited for.
    new Deno.Command("/bin/sh", {
      args: ["-c", `(${RUN_SCRIPT}) & exit`, "sh", folder, emulator, program],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).outputSync();
    const requests = Deno.openSync(pipes[0], { write: true });
    const answers = Deno.openSync(pipes[1]);
    return {
      write(bytes) {
        for (let done = 0; done < bytes.length;) done += requests.writeSync(bytes.subarray(done));
      },
      read(length) {
        const bytes = new Uint8Array(length);
        for (let done = 0; done < length;) {
          const count = answers.readSync(bytes.subarray(done));
          if (count === null) throw new Error("The emulator has ended");
          done += count;
        }
        return bytes;
      },
      close() {
        requests.close();
        answers.close();
      },
    };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function call(
  connection: Connection,
  number: number,
  symbol: Deno.ForeignFunction,
  values: readonly unknown[],
): unknown {
  const integers: bigint[] = [], numbers: bigint[] = [];
  const buffers: Uint8Array[] = [];
  let isBuffer = 0n;
  symbol.parameters.forEach((type, i) => {
    const value = values[i];
    if (type === "f32" || type === "f64") {
      numbers.push(bitsOf(Number(value), type));
    } else if (type === "buffer") {
      isBuffer |= 1n << BigInt(integers.length);
      integers.push(0n);
      const view = value as Uint8Array;
      buffers.push(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    } else {
      integers.push(BigInt.asUintN(64, BigInt(value as bigint | number)));
    }
  });
  const header = [BigInt(number), isBuffer, BigInt(integers.length), BigInt(numbers.length)];
  connection.write(words([...header, ...integers, ...numbers]));
  for (const buffer of buffers) {
    connection.write(words([BigInt(buffer.length)]));
    connection.write(buffer);
  }
  if (connection.read(8)[0] !== 0) throw new Error("A kernel has crashed in the emulator");
  const [result, length] = new BigUint64Array(connection.read(16).buffer);
  const text = connection.read(Number(length));
  for (const buffer of buffers) buffer.set(connection.read(buffer.length));
  return convert(result, text, symbol.result);
}

function convert(result: bigint, text: Uint8Array<ArrayBuffer>, type: Deno.NativeResultType) {
  switch (type) {
    case "void":
      return undefined;
    case "i32":
      return Number(BigInt.asIntN(32, result));
    case "u32":
      return Number(BigInt.asUintN(32, result));
    case "i64":
      return BigInt.asIntN(64, result);
    case "u64":
    case "usize":
      return result;
    case "pointer":
      return Deno.UnsafePointer.of(new Uint8Array([...text, 0]));
    default:
      throw new TypeError(`Cannot emulate a function that returns ${JSON.stringify(type)}`);
  }
}

/** A register's contents; a narrower number fills its lower half. */
function bitsOf(value: number, type: "f32" | "f64"): bigint {
  if (type === "f64") return new BigUint64Array(Float64Array.of(value).buffer)[0];
  return BigInt(new Uint32Array(Float32Array.of(value).buffer)[0]);
}

function words(values: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer);
}

/**
 * The native library as a WebAssembly module: the same functions, on one memory that threads share.
 *
 * Addresses are offsets into that memory, so 4 GiB is all there is for weights, cache and activations of
 * all ranks.
 * @module
 */
import type { LibrarySymbols } from "./library_symbols.ts";
import wasmModule from "./wasm_module.js";

const PAGE_BYTES = 65536;
/** What the module was linked with: tools/build_wasm.ts has the same. */
const INITIAL_PAGES = 32;
const MAX_PAGES = 65536;
const STACK_PAGES = 16;

/** Bytes that a memory can have: what 32 bits can address. */
export const WASM_MEMORY_BYTES: number = MAX_PAGES * PAGE_BYTES;

/** What a new thread is told. */
export interface WasmThreadStart {
  /** The memory that it shares. */
  readonly memory: WebAssembly.Memory;
  /** Address of its record. */
  readonly thread: number;
}

type WasmFunction = (...args: (number | bigint)[]) => number | bigint | undefined;

/** A memory that instances of the module can share; sent to other threads as it is. */
export function createWasmMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MAX_PAGES, shared: true });
}

/**
 * An instance of the module on the calling thread. Throws Error when the engine rounds the products of
 * `relaxed_madd`, as its sums would differ from those of other machines.
 */
export class WasmLibrary {
  /** What the instance works on. */
  readonly memory: WebAssembly.Memory;
  readonly #exports: WebAssembly.Exports;
  readonly #base: bigint;

  /** An instance with a stack of its own on `memory`. */
  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    const instance = new WebAssembly.Instance(wasmModule, {
      env: { memory },
      weft: {
        milliseconds: () => performance.now(),
        start_thread: (thread: number) => startThread({ memory, thread }),
      },
    });
    this.#exports = instance.exports;
    // Growing is atomic: no two threads get the same pages.
    const stack = memory.grow(STACK_PAGES) * PAGE_BYTES;
    const pointer = instance.exports.__stack_pointer as WebAssembly.Global;
    pointer.value = stack + STACK_PAGES * PAGE_BYTES;
    // Typed as unshared, but any memory has an address; that of this one never changes.
    const bytes = new Uint8Array(memory.buffer) as Uint8Array<ArrayBuffer>;
    this.#base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
    if (this.#function("weft_fuses_products")() === 0) {
      throw new Error(
        "Cannot run the WebAssembly kernels as this engine rounds the product of relaxed_madd: " +
          "an x86-64 processor needs FMA",
      );
    }
  }

  /** Runs the thread whose record lies at `thread` to its end, on the calling thread. */
  runThread(thread: number): void {
    this.#function("weft_thread_run")(thread);
  }

  /** The functions that `symbols` declares; throws TypeError when the module has one of them not. */
  bind<const S extends Deno.ForeignLibraryInterface>(symbols: S): LibrarySymbols<S> {
    const bound = Object.entries(symbols).map(([name, declaration]) => {
      const definition = declaration as Deno.ForeignFunction;
      return [name, this.#bind(this.#function(definition.name ?? name), definition)];
    });
    return Object.fromEntries(bound) as LibrarySymbols<S>;
  }

  /** Address of memory for `byteLength` bytes; 0 when there is none. */
  allocate(byteLength: number): bigint {
    const address = this.#function("weft_allocate")(BigInt(byteLength)) as number;
    return BigInt(address >>> 0);
  }

  /** Frees what {@linkcode allocate} returned. */
  free(address: bigint): void {
    this.#function("weft_free")(Number(address));
  }

  /** The memory at `address`, which must stay allocated while the view is used. */
  bytes(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
    if (byteLength === 0) return new Uint8Array(0);
    if (address < 0n || address + BigInt(byteLength) > BigInt(WASM_MEMORY_BYTES)) {
      throw new RangeError(
        `Cannot view ${byteLength} bytes of WebAssembly memory at ${address}: it ends before`,
      );
    }
    const pointer = Deno.UnsafePointer.create(this.#base + address);
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, byteLength));
  }

  /** Address of `byteLength` zero bytes that are never freed, or 0: pages that nobody touches take no memory. */
  reserve(byteLength: number): bigint {
    try {
      return BigInt(this.memory.grow(Math.ceil(byteLength / PAGE_BYTES))) * BigInt(PAGE_BYTES);
    } catch (error) {
      if (error instanceof RangeError) return 0n;
      throw error;
    }
  }

  /** The C string that a function without parameters returns. */
  text(name: string): string {
    const address = this.#function(name)() as number;
    const pointer = Deno.UnsafePointer.create(this.#base + BigInt(address >>> 0));
    return Deno.UnsafePointerView.getCString(pointer!);
  }

  #function(name: string): WasmFunction {
    const exported = this.#exports[name];
    if (typeof exported !== "function") {
      throw new TypeError(`Cannot call ${name} as the WebAssembly module has no such function`);
    }
    return exported as WasmFunction;
  }

  #bind(call: WasmFunction, { parameters, result }: Deno.ForeignFunction): unknown {
    const toWasm = parameters.map((type) => converterOf(type as string));
    const views = parameters.flatMap((type, index) => type === "buffer" ? [index] : []);
    const run = (args: (number | bigint)[]) =>
      fromWasm(call(...args), result as Deno.NativeResultType);
    if (views.length === 0) {
      return (...args: (number | bigint)[]) => {
        for (let i = 0; i < args.length; i++) args[i] = toWasm[i](args[i]);
        return run(args);
      };
    }
    return (...args: unknown[]) => {
      const staged = views.map((index) => this.#stage(args[index] as ArrayBufferView));
      try {
        const numbers = args.map((arg, index) => {
          const view = views.indexOf(index);
          return toWasm[index](view < 0 ? arg as number | bigint : staged[view].address);
        });
        return run(numbers);
      } finally {
        for (const view of staged) view.finish();
      }
    };
  }

  /** Copies a view to where the module reaches it, and back when the call is over. */
  #stage(view: ArrayBufferView): { address: bigint; finish(): void } {
    const { byteLength } = view;
    const address = this.allocate(byteLength);
    if (address === 0n) throw new RangeError(`Cannot stage ${byteLength} bytes: memory is full`);
    const outside = new Uint8Array(view.buffer, view.byteOffset, byteLength);
    const inside = this.bytes(address, byteLength);
    inside.set(outside);
    return {
      address,
      finish: () => {
        outside.set(inside);
        this.free(address);
      },
    };
  }
}

/** How an argument of a declared type becomes one of the module's: pointers have 32 bits there. */
function converterOf(type: string): (value: number | bigint) => number | bigint {
  switch (type) {
    case "usize":
    case "buffer":
    case "pointer":
      return Number;
    case "u64":
    case "i64":
      return BigInt;
    default:
      return (value) => value;
  }
}

function fromWasm(
  value: number | bigint | undefined,
  type: Deno.NativeResultType,
): number | bigint | undefined {
  switch (type) {
    case "usize":
      return BigInt((value as number) >>> 0);
    case "u32":
      return (value as number) >>> 0;
    case "u64":
      return BigInt.asUintN(64, value as bigint);
    default:
      return value;
  }
}

/** Called from C: 1 when a worker was started. */
function startThread(start: WasmThreadStart): number {
  const worker = new Worker(new URL("./wasm_thread.ts", import.meta.url), {
    type: "module",
    name: "weft kernels",
  });
  worker.postMessage(start);
  return 1;
}

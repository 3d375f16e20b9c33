import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CUDART, Cudart } from "../../../src/native/cudart.ts";
import { CUDART_SYMBOLS } from "../../../src/native/cudart_symbols.ts";
import { CudaLaunchConfig } from "../../../src/native/cuda_launch_config.ts";
import { LibraryError, openLibrary } from "../../../src/native/library.ts";
import { NativeError } from "../../../src/native/native_error.ts";
import { withFolder } from "../_folder.ts";

/** What a stand-in for libcudart answers. */
interface Answers {
  /** Version of the runtime, as CUDA writes it. Default 13.0. */
  readonly runtime?: number;
  /** Version that the driver goes up to; 0 without a driver. Default 13.0. */
  readonly driver?: number;
  /** Status of every other function. Default 0. */
  readonly status?: number;
}

/** Builds a stand-in for libcudart whose functions do nothing but answer, and opens it. */
function withCudart(answers: Answers, run: (open: () => Cudart, path: string) => void): void {
  const { runtime = 13000, driver = 13000, status = 0 } = answers;
  const special: Record<string, string> = {
    cudaRuntimeGetVersion: `(int* version) { *version = ${runtime}; return 0; }`,
    cudaDriverGetVersion: `(int* version) { *version = ${driver}; return 0; }`,
    cudaGetErrorName: `(int status) { return "cudaErrorName"; }`,
    cudaGetErrorString: `(int status) { return "what it means"; }`,
    // Hands the configuration of the launch back through the kernel's parameters.
    cudaLaunchKernelExC: `(const char* config, void* kernel, char** parameters) {
      for (int i = 0; i < 56 + 72; i++) parameters[0][i] = config[i];
      return ${status};
    }`,
  };
  const functions = Object.keys(CUDART_SYMBOLS).map((name) => {
    const type = /Error(Name|String)$/.test(name) ? "const char*" : "int";
    return `${type} ${name}${special[name] ?? `() { return ${status}; }`}\n`;
  });
  withFolder((folder) => {
    const path = `${folder}/libcudart.so`;
    Deno.writeTextFileSync(`${folder}/cudart.c`, functions.join(""));
    const { success, stderr } = new Deno.Command("cc", {
      args: ["-shared", "-fPIC", "-o", path, `${folder}/cudart.c`],
    }).outputSync();
    assert(success, new TextDecoder().decode(stderr));
    const description = { ...CUDART, variable: "WEFT_NOT_SET", sonames: [path] };
    run(() => new Cudart(openLibrary(description, CUDART_SYMBOLS)), path);
  });
}

Deno.test("a failing status is an error with the library's words", () => {
  withCudart({ status: 700 }, (open) => {
    using cudart = open();
    const error = assertThrows(() => cudart.memcpyAsync(1n, 2n, 3n, 1, 0n), NativeError);
    assertEquals([error.library, error.function, error.status], ["cudart", "cudaMemcpyAsync", 700]);
    assertEquals(
      error.message,
      "cudaMemcpyAsync of cudart failed with status 700: what it means (cudaErrorName)",
    );
  });
});

Deno.test("a driver that is too old is told with its version, that of the runtime and what helps", () => {
  withCudart({ status: 35, driver: 12080 }, (open, path) => {
    using cudart = open();
    assertStringIncludes(
      assertThrows(() => cudart.getDeviceCount(), NativeError).message,
      `The NVIDIA driver goes up to CUDA 12.8 and is too old for CUDA 13.0 of ${path}: ` +
        "update the driver, or set WEFT_CUDART_PATH to an older runtime",
    );
  });
  withCudart({ status: 35, driver: 0 }, (open) => {
    using cudart = open();
    assertThrows(() => cudart.getDeviceCount(), NativeError, "There is no NVIDIA driver");
    assertEquals(cudart.driverGetVersion(), null);
  });
});

Deno.test("a machine without a visible GPU is told so", () => {
  withCudart({ status: 100 }, (open) => {
    using cudart = open();
    assertThrows(() => cudart.getDeviceCount(), NativeError, "CUDA_VISIBLE_DEVICES");
  });
});

Deno.test("work that is not done yet is an answer", () => {
  withCudart({ status: 600 }, (open) => {
    using cudart = open();
    assertEquals([cudart.streamQuery(1n), cudart.eventQuery(1n)], [false, false]);
    assertThrows(() => cudart.streamSynchronize(1n), NativeError, "status 600");
  });
  withCudart({}, (open) => {
    using cudart = open();
    assertEquals([cudart.streamQuery(1n), cudart.eventQuery(1n)], [true, true]);
  });
});

Deno.test("a runtime before CUDA 12.9 is refused with its version", () => {
  withCudart({ runtime: 12040 }, (open, path) => {
    const error = assertThrows(open, LibraryError);
    assertEquals(error.attempts[0], { path, reason: "version 12.4 is older than 12.9" });
  });
});

Deno.test("numbers are checked before C has them", () => {
  withCudart({}, (open) => {
    using cudart = open();
    assertThrows(() => cudart.setDevice(-1), RangeError, "current value is -1");
    assertThrows(() => cudart.malloc(1.5), RangeError, "current value is 1.5");
    assertThrows(() => cudart.hostAlloc(2 ** 53), RangeError, "byteLength must be");
    assertThrows(() => cudart.libraryGetKernel(1n, "a\0b"), TypeError, "holds a NUL");
  });
});

Deno.test("C finds the configuration of a launch where its declaration says", () => {
  withCudart({}, (open) => {
    using cudart = open();
    const config = new CudaLaunchConfig({ programmaticStreamSerialization: true });
    config.setGrid(1, 2, 3);
    config.setBlock(32, 5, 6);
    config.setDynamicSharedBytes(200_000);
    config.setStream(0xfedc_ba98_7654_3210n);
    const copy = new Uint32Array(32);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(copy));
    const parameters = BigUint64Array.of(address);
    const pointer = Deno.UnsafePointer.value(Deno.UnsafePointer.of(parameters));
    cudart.launchKernelExC(config.address, 1n, pointer);
    assertEquals([...copy.subarray(0, 6)], [1, 2, 3, 32, 5, 6]);
    const words = new BigUint64Array(copy.buffer);
    assertEquals([...words.subarray(3, 5)], [200_000n, 0xfedc_ba98_7654_3210n]);
    assertEquals(words[5], config.address + 56n, "its attributes lie behind it");
    assertEquals([copy[12], copy[14], copy[16]], [1, 6, 1], "one attribute, 6, is on");
  });
});

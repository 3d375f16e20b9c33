import { assertEquals } from "@std/assert";
import { EmulatedKernels } from "./_emulated_kernels.ts";

const KERNELS = `
  #include "numbers.cuh"
  template <class T> __device__ void widen_all(float* out, const T* in, int n) {
    pdl_wait();
    for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = to_f32(in[i]);
  }
  template <class T> __device__ void narrow_all(T* out, const float* in, int n) {
    pdl_wait();
    for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = from_f32<T>(in[i]);
  }
  template <class T> __device__ void copy_all(T* out, const T* in, int n) {
    pdl_wait();
    for (int i = threadIdx.x * kVectorSize<T>; i < n; i += blockDim.x * kVectorSize<T>) {
      float values[kVectorSize<T>];
      load16(in + i, values);
      store16(out + i, values);
    }
  }
  extern "C" __global__ void widen_f16(float* o, const f16* i, int n) { widen_all(o, i, n); }
  extern "C" __global__ void widen_bf16(float* o, const bf16* i, int n) { widen_all(o, i, n); }
  extern "C" __global__ void narrow_f16(f16* o, const float* i, int n) { narrow_all(o, i, n); }
  extern "C" __global__ void narrow_bf16(bf16* o, const float* i, int n) { narrow_all(o, i, n); }
  extern "C" __global__ void copy_f16(f16* o, const f16* i, int n) { copy_all(o, i, n); }
  extern "C" __global__ void copy_bf16(bf16* o, const bf16* i, int n) { copy_all(o, i, n); }
  extern "C" __global__ void copy_f32(float* o, const float* i, int n) { copy_all(o, i, n); }
`;

/** A 16-bit format: bits of exponent and fraction. */
interface Format {
  readonly exponentBits: number;
  readonly fractionBits: number;
}

const FORMATS: Record<string, Format> = {
  f16: { exponentBits: 5, fractionBits: 10 },
  bf16: { exponentBits: 8, fractionBits: 7 },
};

function valueOf(bits: number, { exponentBits, fractionBits }: Format): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const exponent = bits >> fractionBits & 2 ** exponentBits - 1;
  const fraction = (bits & 2 ** fractionBits - 1) / 2 ** fractionBits;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  return sign *
    (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

for (const [name, format] of Object.entries(FORMATS)) {
  Deno.test(`${name} widens exactly, for every number there is`, async () => {
    using kernels = await EmulatedKernels.load(KERNELS);
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const output = kernels.allocate(4 * bits.length);
    kernels.run(`widen_${name}`, { threads: 256 }, output, kernels.upload(bits), bits.length);
    const values = kernels.download(output, new Float32Array(bits.length));
    // As plain numbers, of which there is one NaN.
    assertEquals([...values], Array.from(bits, (each) => valueOf(each, format)));
  });

  Deno.test(`${name} rounds to the nearest, ties to even`, async () => {
    using kernels = await EmulatedKernels.load(KERNELS);
    const infinity = 2 ** format.exponentBits - 1 << format.fractionBits;
    const inputs: number[] = [];
    const expected: number[] = [];
    const add = (value: number, bits: number): void => {
      inputs.push(value, -value);
      expected.push(bits, bits | 0x8000);
    };
    // Each number, what lies halfway to the next, and what is a little off halfway. Beyond the last
    // comes the infinity, as if it were one more number.
    for (let bits = 0; bits < infinity; bits += 7) {
      const value = valueOf(bits, format);
      const step = valueOf(bits + (bits + 1 < infinity ? 1 : -1), format) - value;
      const half = Math.abs(step) / 2;
      add(value, bits);
      add(value + half, bits + (bits & 1));
      add(value + half * 0.99, bits);
      add(value + half * 1.01, bits + 1);
    }
    add(Infinity, infinity);
    const stored = Float32Array.from(inputs);
    const output = kernels.allocate(2 * stored.length);
    const input = kernels.upload(stored);
    kernels.run(`narrow_${name}`, { threads: 256 }, output, input, stored.length);
    assertEquals(
      kernels.download(output, new Uint16Array(stored.length)),
      Uint16Array.from(expected),
    );
  });
}

Deno.test("vectors of 16 bytes keep every number and its place", async () => {
  using kernels = await EmulatedKernels.load(KERNELS);
  const copy = (name: string, values: Uint16Array<ArrayBuffer> | Float32Array<ArrayBuffer>) => {
    const output = kernels.allocate(values.byteLength);
    kernels.run(`copy_${name}`, {}, output, kernels.upload(values), values.length);
    return output;
  };
  const halves = Uint16Array.from({ length: 512 }, (_, i) => i * 61 % 0x7c00);
  for (const name of ["f16", "bf16"]) {
    assertEquals(kernels.download(copy(name, halves), new Uint16Array(512)), halves);
  }
  const floats = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i));
  assertEquals(kernels.download(copy("f32", floats), new Float32Array(512)), floats);
});

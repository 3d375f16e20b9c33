import { assertEquals } from "@std/assert";
import { EmulatedKernels } from "./_emulated_kernels.ts";

// A warp multiplies a 16 x 16 matrix by a 16 x 8 one, as kernels do: the factors come through shared
// memory and ldmatrix, b as columns ([n][k]) or as rows ([k][n], transposed on the way). b is two
// matrices of the four that ldmatrix_x4 loads: the others are the same again.
const PRODUCT = (type: string, transposed: boolean): string => `
  #include "ptx.cuh"
  extern "C" __global__ void multiply(float* out, const unsigned short* a_in,
                                      const unsigned short* b_in) {
    pdl_wait();
    unsigned short* a_rows = (unsigned short*)shared_memory();
    unsigned short* b_rows = a_rows + 256;
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) a_rows[i] = a_in[i];
    for (int i = lane; i < 128; i += 32) b_rows[i] = b_in[i];
    __syncwarp();
    unsigned a[4], b[4];
    ldmatrix_x4(a, a_rows + lane % 16 * 16 + lane / 16 * 8);
    ${
  transposed
    ? "ldmatrix_x4_trans(b, b_rows + lane % 16 * 8);"
    : "ldmatrix_x4(b, b_rows + lane % 8 * 16 + lane / 8 % 2 * 8);"
}
    float d[4] = {1, 2, 3, 4};
    mma_${type}_16816(d, a, {b[0], b[1]});
    const int row = lane / 4, column = lane % 4 * 2;
    out[row * 8 + column] = d[0];
    out[row * 8 + column + 1] = d[1];
    out[(row + 8) * 8 + column] = d[2];
    out[(row + 8) * 8 + column + 1] = d[3];
  }`;

// Small multiples of 1/8: their products and sums are exact in every type.
const element = (index: number): number => ((index * 37 + 11) % 61 - 30) / 8;

function bf16Bits(value: number): number {
  return new Uint32Array(new Float32Array([value]).buffer)[0] >>> 16;
}

// Of a value that a half holds and that is not subnormal, or 0.
function f16Bits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = (Math.abs(value) / 2 ** exponent - 1) * 1024;
  return (value < 0 ? 0x8000 : 0) | (exponent + 15) << 10 | fraction;
}

for (const [type, bitsOf] of [["bf16", bf16Bits], ["f16", f16Bits]] as const) {
  for (const transposed of [false, true]) {
    const how = transposed ? "transposed by ldmatrix" : "as columns";
    Deno.test(`mma_${type}_16816 gives the float64 product, b ${how}`, async () => {
      using kernels = await EmulatedKernels.load(PRODUCT(type, transposed));
      const a = Float64Array.from({ length: 256 }, (_, i) => element(i)); // [m][k]
      const b = Float64Array.from({ length: 128 }, (_, i) => element(i + 300)); // [k][n]
      const stored = transposed ? b : b.map((_, i) => b[i % 16 * 8 + Math.floor(i / 16)]);
      const output = kernels.allocate(128 * 4);
      kernels.run(
        "multiply",
        { sharedBytes: 768 },
        output,
        kernels.upload(Uint16Array.from(a, bitsOf)),
        kernels.upload(Uint16Array.from(stored, bitsOf)),
      );
      const product = Array.from({ length: 128 }, (_, i) => {
        const row = Math.floor(i / 8);
        // What the kernel adds to: 1, 2 in the upper half, 3, 4 in the lower.
        let sum = 1 + i % 2 + (row < 8 ? 0 : 2);
        for (let k = 0; k < 16; k++) sum += a[row * 16 + k] * b[k * 8 + i % 8];
        return sum;
      });
      assertEquals([...kernels.download(output, new Float32Array(128))], product);
    });
  }
}

Deno.test("ldmatrix_x4 gives each lane its parts of the four matrices", async () => {
  using kernels = await EmulatedKernels.load(
    `#include "ptx.cuh"
     extern "C" __global__ void load(unsigned* out) {
       pdl_wait();
       unsigned short* elements = (unsigned short*)shared_memory();
       const int lane = threadIdx.x;
       for (int i = 0; i < 8; i++) elements[lane * 8 + i] = lane * 8 + i;
       __syncwarp();
       unsigned r[4];
       ldmatrix_x4(r, elements + lane * 8);
       for (int i = 0; i < 4; i++) out[i * 32 + lane] = r[i];
       ldmatrix_x4_trans(r, elements + lane * 8);
       for (int i = 0; i < 4; i++) out[128 + i * 32 + lane] = r[i];
     }`,
  );
  const output = kernels.allocate(256 * 4);
  kernels.run("load", { sharedBytes: 512 }, output);
  const expected = Array.from({ length: 256 }, (_, index) => {
    const matrix = Math.floor(index / 32) % 4;
    const major = Math.floor(index % 32 / 4);
    const minor = index % 4 * 2;
    const at = (row: number, column: number) => matrix * 64 + row * 8 + column;
    return index < 128
      ? at(major, minor) + 65536 * at(major, minor + 1)
      : at(minor, major) + 65536 * at(minor + 1, major);
  });
  assertEquals([...kernels.download(output, new Uint32Array(256))], expected);
});

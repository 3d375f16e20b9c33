/**
 * What a busy foreign thread leaves of a decode step's speed: products with one token, alone and beside an
 * endless loop, in turns; the median of the ratios. With T threads on T cores 1 - 1/(T + 1) is ideal.
 *
 *     deno run -A bench/foreign_load.ts
 */
import { openCpuDevice } from "../src/tensor/cpu/device.ts";
import { Tensor } from "../src/tensor/tensor.ts";

const TURNS = 15, TURN_MS = 400;
const SIZE = { rows: 8192, columns: 2048 } as const;

const LOOP = `onmessage = ({ data }) => {
  const running = new Int32Array(data);
  for (;;) {
    Atomics.wait(running, 0, 0);
    while (Atomics.load(running, 0) === 1);
  }
};`;

const running = new Int32Array(new SharedArrayBuffer(4));
const busy = new Worker(URL.createObjectURL(new Blob([LOOP], { type: "text/javascript" })), {
  type: "module",
});
busy.postMessage(running.buffer);

using device = openCpuDevice();
using matrix = Tensor.allocate(device, { shape: [SIZE.rows, SIZE.columns], dtype: "bf16" });
matrix.upload(new Uint16Array(SIZE.rows * SIZE.columns).fill(0x3c00));
using weight = device.linearWeight([
  { ...SIZE, address: matrix.address, dtype: "bf16", rowStride: SIZE.columns },
], "bf16");
using x = Tensor.allocate(device, { shape: [1, SIZE.columns] });
x.upload(new Float32Array(SIZE.columns).fill(0.5));
using out = Tensor.allocate(device, { shape: [1, SIZE.rows] });

/** Products a second during one turn. */
function speed(beside: boolean): number {
  Atomics.store(running, 0, Number(beside));
  Atomics.notify(running, 0);
  const begin = performance.now();
  let products = 0, now = begin;
  for (; now - begin < TURN_MS; now = performance.now(), products++) {
    device.linear(out, x, weight, 1);
  }
  return products / (now - begin) * 1000;
}

await new Promise((resolve) => setTimeout(resolve, 200)); // until the loop waits for its turn
const ratios = Array.from({ length: TURNS }, () => {
  const alone = speed(false);
  return speed(true) / alone;
}).sort((a, b) => a - b);
busy.terminate();
const { threads } = device.description;
console.log(JSON.stringify({
  threads,
  median: ratios[TURNS >> 1],
  lowest: ratios[0],
  highest: ratios[TURNS - 1],
  ideal: 1 - 1 / (threads + 1),
}));
Deno.exit(); // the loop may be waiting for its turn

import { assertEquals, assertThrows } from "@std/assert";
import { CommunicatorError } from "../../../src/distributed/communicator.ts";
import { SingleRankCommunicator } from "../../../src/distributed/single_rank_communicator.ts";

function addressOf(view: ArrayBufferView<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(view));
}

Deno.test("a single rank keeps in-place buffers and copies the others", () => {
  using world = new SingleRankCommunicator();
  const input = Float32Array.of(1, 2, 3);
  const gathered = new Float32Array(3);
  const scattered = new Float32Array(3);
  world.allReduce(addressOf(input), 3);
  world.broadcast(addressOf(input), 3, { root: 0 });
  world.barrier();
  assertEquals(input, Float32Array.of(1, 2, 3));
  world.allGather(addressOf(gathered), addressOf(input), 3);
  world.reduceScatter(addressOf(scattered), addressOf(input), 2, { op: "max" });
  assertEquals(gathered, input);
  assertEquals(scattered, Float32Array.of(1, 2, 0));
  assertEquals([world.rank, world.size, world.kind], [0, 1, "single"]);
});

Deno.test("a single rank copies with its device", () => {
  const copies: [bigint, bigint, number][] = [];
  using world = new SingleRankCommunicator({ copy: (...copy) => copies.push(copy) });
  using part = world.split(3, -1);
  part.allGather(64n, 128n, 10, { dtype: "bf16" });
  part.allGather(64n, 64n, 10);
  part.reduceScatter(64n, 128n, 0);
  assertEquals(copies, [[64n, 128n, 20]]);
});

Deno.test("a single rank has no peer and refuses what a group refuses", () => {
  using world = new SingleRankCommunicator();
  const peerless = "Cannot send as the peer is the rank itself: 0";
  assertThrows(() => world.send(64n, 1, { peer: 0 }), RangeError, peerless);
  assertThrows(() => world.recv(64n, 1, { peer: 1 }), RangeError, "1 is not in 0..0");
  assertThrows(() => world.broadcast(64n, 1, { root: 1 }), RangeError, "1 is not in 0..0");
  assertThrows(() => world.allReduce(64n, 1, { dtype: "f16" }), TypeError, "dtype is f16");
  assertThrows(() => world.allReduce(64n, 0.5), RangeError, "0.5");
  assertThrows(() => world.split(-1, 0), RangeError, "-1, 0");
});

Deno.test("an aborted single rank fails with the first reason", () => {
  using world = new SingleRankCommunicator();
  world.abort("first");
  world.abort("second");
  assertThrows(
    () => world.barrier(),
    CommunicatorError,
    "Cannot complete barrier on rank 0 of 1 as the group was aborted: first",
  );
});

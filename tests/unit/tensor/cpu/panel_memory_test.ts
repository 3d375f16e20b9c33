import { assert, assertEquals, assertThrows } from "@std/assert";
import { nativeLibraryPath } from "../../../../src/native/native_library.ts";
import { CPU_PANEL_MEMORY_SYMBOLS, PanelMemory } from "../../../../src/tensor/cpu/panel_memory.ts";

/** Whether something is mapped at `address`. */
function isMapped(address: bigint): boolean {
  return Deno.readTextFileSync("/proc/self/maps").split("\n").some((line) => {
    const range = line.match(/^([0-9a-f]+)-([0-9a-f]+)/);
    return range !== null && address >= BigInt(`0x${range[1]}`) &&
      address < BigInt(`0x${range[2]}`);
  });
}

const MIB = 2 ** 20;

Deno.test("packed weights share regions of huge pages, which are unmapped with the last of them", () => {
  const library = Deno.dlopen(nativeLibraryPath(), CPU_PANEL_MEMORY_SYMBOLS);
  try {
    using memory = new PanelMemory(library.symbols);
    const { address: first } = memory.allocate(5);
    const { address: second } = memory.allocate(MIB + 1);
    const { address: third } = memory.allocate(0);
    assertEquals([first % BigInt(2 * MIB), second - first], [0n, 4096n]);
    assertEquals(third - second, BigInt(MIB + 4096));
    const zeros = new Uint8Array(
      Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(second)!, MIB + 1),
    );
    assert(zeros.every((byte) => byte === 0));
    // Larger than a region of several weights.
    const { address: large } = memory.allocate(100 * MIB);
    assertEquals(large % BigInt(2 * MIB), 0n);
    memory.free(large);
    memory.free(first);
    memory.free(third);
    assert(!isMapped(large) && isMapped(second));
    assertThrows(() => memory.free(first), RangeError, "not allocated");
    memory.free(second);
    assert(!isMapped(first));
    assertThrows(() => memory.allocate(-1), RangeError, "not a count");

    const { address: left } = memory.allocate(1);
    memory[Symbol.dispose]();
    assert(!isMapped(left));
    memory.free(left);
  } finally {
    library.close();
  }
});

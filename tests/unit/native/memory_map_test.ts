import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { FileMapper } from "../../../src/native/memory_map.ts";

function withFile(contents: Uint8Array, run: (path: string) => void): void {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, contents);
    run(path);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("a mapped file shows the bytes of the file", () => {
  const contents = new Uint8Array(10_000).map((_, index) => index % 251);
  withFile(contents, (path) => {
    using mapper = new FileMapper();
    using file = mapper.map(path);
    assertEquals(file.byteLength, contents.length);
    assertEquals(file.address % 4096n, 0n);
    assertEquals(file.bytes(0, contents.length), contents);
    assertEquals(file.bytes(9_990, 10), contents.subarray(9_990));
    assertEquals(file.bytes(10_000, 0).length, 0);
  });
});

Deno.test("a mapped file refuses ranges outside it, and every range once it is unmapped", () => {
  withFile(new Uint8Array(100), (path) => {
    using mapper = new FileMapper();
    const file = mapper.map(path);
    for (const [offset, length] of [[0, 101], [101, 0], [-1, 2], [0.5, 1], [2 ** 53, 1]]) {
      assertThrows(() => file.bytes(offset, length), RangeError);
    }
    file[Symbol.dispose]();
    file[Symbol.dispose]();
    assertThrows(() => file.bytes(0, 1), Error, "no longer mapped");
  });
});

Deno.test("a path that cannot be mapped is refused with the system's reason", () => {
  using mapper = new FileMapper();
  const folder = Deno.makeTempDirSync();
  try {
    const reason = (path: string) => assertThrows(() => mapper.map(path), Error).message;
    assertStringIncludes(reason(`${folder}/absent`), "No such file");
    assertStringIncludes(reason(folder), "directory");
    assertStringIncludes(reason("/dev/null"), "Invalid argument");
    assertStringIncludes(reason("a\0b"), "NUL");
    Deno.writeFileSync(`${folder}/empty`, new Uint8Array(0));
    assertStringIncludes(reason(`${folder}/empty`), "No data");
    new Deno.Command("mkfifo", { args: [`${folder}/fifo`] }).outputSync();
    assertStringIncludes(reason(`${folder}/fifo`), "Invalid argument");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

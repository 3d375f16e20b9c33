// Calls functions of the library for another process: requests come on standard input, answers go to
// standard output. Both are of 8-byte words and the bytes of buffers.
//
// Request: number of the function, which arguments are buffers (a bit each), count of integers and
// addresses, count of floating-point numbers, both in order, then length and bytes of each buffer; its
// argument is ignored. Answer: 0, what was returned, length of the string there (0 when none was asked
// for) and its bytes, the bytes of each buffer.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INTEGERS = 24, NUMBERS = 8 };

typedef void (*function)(void);

// Given with the program: the functions by number, and whether each returns a string.
extern const function dispatched[];
extern const char returns_string[];

// On aarch64 integers and floating-point numbers are passed apart, so that one type of function that
// takes more than any serves them all.
typedef uint64_t (*any_function)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t, double, double, double, double, double,
                                 double, double, double);

static void read_all(void* to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t count = read(STDIN_FILENO, (char*)to + done, bytes - done);
    if (count <= 0) exit(0);  // the other side has closed
    done += (size_t)count;
  }
}

static void write_all(const void* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t count = write(STDOUT_FILENO, (const char*)from + done, bytes - done);
    if (count <= 0) exit(1);
    done += (size_t)count;
  }
}

static void answer(void) {
  uint64_t header[4], a[INTEGERS] = {0}, lengths[INTEGERS] = {0};
  double d[NUMBERS] = {0};
  void* buffers[INTEGERS] = {0};
  read_all(header, sizeof header);
  const uint64_t number = header[0], is_buffer = header[1];
  if (header[2] > INTEGERS || header[3] > NUMBERS) exit(2);
  read_all(a, header[2] * 8);
  read_all(d, header[3] * 8);
  for (int i = 0; i < INTEGERS; i++) {
    if (!(is_buffer >> i & 1)) continue;
    read_all(&lengths[i], 8);
    buffers[i] = malloc(lengths[i] + 1);
    if (buffers[i] == NULL) exit(3);
    read_all(buffers[i], lengths[i]);
    a[i] = (uint64_t)(uintptr_t)buffers[i];
  }
  const uint64_t result = ((any_function)dispatched[number])(
      a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
      a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22], a[23], d[0], d[1], d[2], d[3], d[4],
      d[5], d[6], d[7]);
  const char* text = returns_string[number] ? (const char*)(uintptr_t)result : "";
  const uint64_t reply[3] = {0, result, strlen(text)};
  write_all(reply, sizeof reply);
  write_all(text, strlen(text));
  for (int i = 0; i < INTEGERS; i++) {
    if (is_buffer >> i & 1) write_all(buffers[i], lengths[i]);
    free(buffers[i]);
  }
}

int main(void) {
  for (;;) answer();
}

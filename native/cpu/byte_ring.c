// The byte ring of byte_ring.h: the channels of send and recv, and the result stream of a replica.
#include "byte_ring.h"

#include <string.h>

static void copy_in(weft_ring* ring, uint32_t capacity, uint32_t position, const void* source,
                    uint32_t length) {
  uint32_t start = position & (capacity - 1);
  uint32_t first = length < capacity - start ? length : capacity - start;
  memcpy(ring->data + start, source, first);
  memcpy(ring->data, (const uint8_t*)source + first, length - first);
}

static void copy_out(const weft_ring* ring, uint32_t capacity, uint32_t position, void* destination,
                     uint32_t length) {
  uint32_t start = position & (capacity - 1);
  uint32_t first = length < capacity - start ? length : capacity - start;
  memcpy(destination, ring->data + start, first);
  memcpy((uint8_t*)destination + first, ring->data, length - first);
}

// Pieces of a quarter: the reader copies one while the writer fills the next.
static uint32_t piece_of(uint64_t remaining, uint32_t capacity) {
  return remaining < capacity / 4 ? (uint32_t)remaining : capacity / 4;
}

int weft_ring_send(weft_ring* ring, uint32_t capacity, weft_message message, const uint8_t* payload,
                   uint64_t deadline_ns, weft_waiter* waiter) {
  uint32_t position = __atomic_load_n(&ring->head.value, __ATOMIC_RELAXED);
  uint64_t remaining = message.byte_length;
  uint32_t piece = piece_of(remaining, capacity);
  int status = weft_wait(&ring->tail, position + (uint32_t)sizeof message + piece - capacity,
                         deadline_ns, waiter);
  if (status < 0) return status;
  copy_in(ring, capacity, position, &message, sizeof message);
  position += (uint32_t)sizeof message;
  for (;;) {
    copy_in(ring, capacity, position, payload, piece);
    position += piece;
    payload += piece;
    remaining -= piece;
    weft_post(&ring->head, position);
    if (remaining == 0) return 0;
    piece = piece_of(remaining, capacity);
    status = weft_wait(&ring->tail, position + piece - capacity, deadline_ns, waiter);
    if (status < 0) return status;
  }
}

int weft_ring_next(weft_ring* ring, uint32_t capacity, weft_message* message, uint64_t deadline_ns,
                   weft_waiter* waiter) {
  uint32_t position = __atomic_load_n(&ring->tail.value, __ATOMIC_RELAXED);
  int status = weft_wait(&ring->head, position + (uint32_t)sizeof *message, deadline_ns, waiter);
  if (status < 0) return status;
  copy_out(ring, capacity, position, message, sizeof *message);
  weft_post(&ring->tail, position + (uint32_t)sizeof *message);
  return 0;
}

int weft_ring_take(weft_ring* ring, uint32_t capacity, uint8_t* payload, uint64_t byte_length,
                   uint64_t deadline_ns, weft_waiter* waiter) {
  uint32_t position = __atomic_load_n(&ring->tail.value, __ATOMIC_RELAXED);
  while (byte_length > 0) {
    int status = weft_wait(&ring->head, position + 1, deadline_ns, waiter);
    if (status < 0) return status;
    uint32_t available = __atomic_load_n(&ring->head.value, __ATOMIC_ACQUIRE) - position;
    uint32_t piece = piece_of(byte_length, capacity);
    if (piece > available) piece = available;
    copy_out(ring, capacity, position, payload, piece);
    position += piece;
    payload += piece;
    byte_length -= piece;
    weft_post(&ring->tail, position);
  }
  return 0;
}

// The three operations with a timeout, for callers outside C.

int32_t weft_stream_send(weft_ring* ring, uint32_t capacity, const uint8_t* payload,
                         uint64_t byte_length, uint64_t timeout_ns, const weft_abort_flag* abort) {
  return weft_ring_send(ring, capacity, (weft_message){byte_length, 0}, payload,
                        weft_now_ns() + timeout_ns, &(weft_waiter){abort, 0, 0});
}

// Length of the next message or a negative status.
int64_t weft_stream_next(weft_ring* ring, uint32_t capacity, uint64_t timeout_ns,
                         const weft_abort_flag* abort) {
  weft_message message;
  int status = weft_ring_next(ring, capacity, &message, weft_now_ns() + timeout_ns,
                              &(weft_waiter){abort, 0, 0});
  return status < 0 ? status : (int64_t)message.byte_length;
}

int32_t weft_stream_take(weft_ring* ring, uint32_t capacity, uint8_t* payload, uint64_t byte_length,
                         uint64_t timeout_ns, const weft_abort_flag* abort) {
  return weft_ring_take(ring, capacity, payload, byte_length, weft_now_ns() + timeout_ns,
                        &(weft_waiter){abort, 0, 0});
}

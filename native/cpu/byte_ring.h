// A stream of messages from one writer to one reader through a ring of bytes in shared memory. A
// message larger than the ring passes through it in pieces.
#ifndef WEFT_BYTE_RING_H
#define WEFT_BYTE_RING_H

#include "shared_memory.h"

// `head` counts the bytes written, `tail` the bytes read, both modulo 2^32; `capacity` bytes follow.
typedef struct {
  weft_event head;
  weft_event tail;
  uint8_t data[];
} weft_ring;

// Leads every message. The reader can tell from it whether the message is the one it expects.
typedef struct {
  uint64_t byte_length;
  uint64_t tag;
} weft_message;

// Writes a message, waiting for room. `capacity` is a power of two from 64 to 2^30.
// Returns 0, -ETIMEDOUT or -ECANCELED; after a failure the stream is broken.
int weft_ring_send(weft_ring* ring, uint32_t capacity, weft_message message, const uint8_t* payload,
                   uint64_t deadline_ns, weft_waiter* waiter);

// Waits for the next message and takes its head, without its payload.
int weft_ring_next(weft_ring* ring, uint32_t capacity, weft_message* message, uint64_t deadline_ns,
                   weft_waiter* waiter);

// Takes the payload of the message whose head was just taken.
int weft_ring_take(weft_ring* ring, uint32_t capacity, uint8_t* payload, uint64_t byte_length,
                   uint64_t deadline_ns, weft_waiter* waiter);

#endif

// Collectives and point-to-point transfers between ranks that map one region.
//
// A collective is a sequence of rounds. In a round every rank puts data into its own staging slot and
// its call into a record, adds itself to the round's counter, waits until all have, and then reads the
// others' slots. There are two of everything, used in turn: a rank that reaches round k + 2 has seen all
// ranks arrive at round k + 1, so all have finished reading round k. Hence one wait a round and no second.
//
// The region: abort flag | header | counter | records [2][ranks] | slots [ranks][4] | channels.
#include "byte_ring.h"
#include "tree_reduce.h"

#include <errno.h>
#include <stdlib.h>

#define WEFT_GROUP_MAGIC 0x7765667467727031ull
// Up to this many staged bytes over all ranks, each rank reduces everything itself.
#define WEFT_SMALL_BYTES (256u << 10)

enum { CALL_ALL_REDUCE, CALL_ALL_GATHER, CALL_REDUCE_SCATTER, CALL_BROADCAST, CALL_BARRIER };

typedef struct {
  uint64_t magic;
  uint32_t size;
  uint32_t slot_bytes;     // a multiple of 4096
  uint32_t channel_bytes;  // a power of two
  uint32_t padding[11];
} group_header;

// What a rank called in a round; ranks whose records differ must not go on.
typedef struct {
  uint32_t arrived;  // round + 1
  uint32_t call;
  uint32_t type;
  uint32_t detail;  // reduction or root
  uint64_t count;
  uint8_t padding[WEFT_LINE - 24];
} group_record;

// A rank's own view of the group.
typedef struct {
  weft_waiter waiter;
  uint64_t timeout_ns;
  int size;
  int rank;
  uint32_t round;
  uint32_t slot_bytes;
  uint32_t channel_bytes;
  int failed_peer;             // who was late or called something else
  group_record failed_record;  // what it called
  weft_event* counter;
  group_record* records;
  uint8_t* slots;
  uint8_t* channels;
} weft_group;

static const uint32_t TYPE_BYTES[WEFT_TYPES] = {8, 4, 2, 2, 8, 4, 1};

static uint64_t align_page(uint64_t bytes) { return (bytes + 4095) & ~4095ull; }

static uint64_t slots_offset(uint32_t size) {
  return align_page(sizeof(weft_abort_flag) + sizeof(group_header) + sizeof(weft_event) +
                    2ull * size * sizeof(group_record));
}
static uint64_t channels_offset(uint32_t size, uint32_t slot_bytes) {
  return slots_offset(size) + 4ull * size * slot_bytes;
}
static uint64_t channel_stride(uint32_t channel_bytes) { return sizeof(weft_ring) + channel_bytes; }

// Bytes of the region of a group.
uint64_t weft_group_bytes(uint32_t size, uint32_t slot_bytes, uint32_t channel_bytes) {
  return align_page(channels_offset(size, slot_bytes) +
                    (uint64_t)size * size * channel_stride(channel_bytes));
}

// Prepares a region of zeros; once, before any rank opens it.
void weft_group_initialize(uint8_t* base, uint32_t size, uint32_t slot_bytes, uint32_t channel_bytes) {
  group_header* header = (group_header*)(base + sizeof(weft_abort_flag));
  *header = (group_header){WEFT_GROUP_MAGIC, size, slot_bytes, channel_bytes, {0}};
}

// A rank's view of the group at `base`, to be closed by weft_group_close; NULL when the region is not a
// group of `size` ranks in `byte_length` bytes, or without memory.
weft_group* weft_group_open(uint8_t* base, uint64_t byte_length, int32_t rank, int32_t size,
                            const weft_abort_flag* abort, uint64_t timeout_ns, uint64_t spin_ns) {
  const group_header* header = (const group_header*)(base + sizeof(weft_abort_flag));
  if (header->magic != WEFT_GROUP_MAGIC || header->size != (uint32_t)size || rank < 0 ||
      rank >= size || size > WEFT_MAX_RANKS ||
      weft_group_bytes(header->size, header->slot_bytes, header->channel_bytes) != byte_length) {
    return NULL;
  }
  weft_group* group = calloc(1, sizeof *group);
  if (group == NULL) return NULL;
  uint8_t* counter = base + sizeof(weft_abort_flag) + sizeof(group_header);
  group->waiter = (weft_waiter){abort, spin_ns, spin_ns};
  group->timeout_ns = timeout_ns;
  group->size = size;
  group->rank = rank;
  group->slot_bytes = header->slot_bytes;
  group->channel_bytes = header->channel_bytes;
  group->counter = (weft_event*)counter;
  group->records = (group_record*)(counter + sizeof(weft_event));
  group->slots = base + slots_offset(header->size);
  group->channels = base + channels_offset(header->size, header->slot_bytes);
  return group;
}

void weft_group_close(weft_group* group) { free(group); }

// After -ETIMEDOUT or -EPROTO: the peer, and after -EPROTO its call, type, detail and count.
void weft_group_failure(const weft_group* group, uint64_t* out) {
  out[0] = (uint64_t)group->failed_peer;
  out[1] = group->failed_record.call;
  out[2] = group->failed_record.type;
  out[3] = group->failed_record.detail;
  out[4] = group->failed_record.count;
}

static uint8_t* stage(const weft_group* g, int rank) {
  return g->slots + (4ull * (uint64_t)rank + (g->round & 1)) * g->slot_bytes;
}
static uint8_t* result(const weft_group* g, int rank, uint32_t round) {
  return g->slots + (4ull * (uint64_t)rank + 2 + (round & 1)) * g->slot_bytes;
}

// Arrives at the current round, waits for the others and checks that they called the same. Leaves
// `round` as it is: what was staged in it is read next.
static int meet(weft_group* g, group_record call, uint64_t deadline) {
  if (weft_is_aborted(g->waiter.abort)) return -ECANCELED;
  group_record* records = g->records + (g->round & 1) * (uint32_t)g->size;
  group_record* mine = &records[g->rank];
  uint32_t arrived = g->round + 1;
  mine->call = call.call;
  mine->type = call.type;
  mine->detail = call.detail;
  mine->count = call.count;
  __atomic_store_n(&mine->arrived, arrived, __ATOMIC_RELEASE);
  uint32_t target = arrived * (uint32_t)g->size;
  if (__atomic_add_fetch(&g->counter->value, 1, __ATOMIC_SEQ_CST) == target) {
    weft_wake(g->counter);
  } else {
    int status = weft_wait(g->counter, target, deadline, &g->waiter);
    if (status == -ETIMEDOUT) {
      for (int r = 0; r < g->size; r++) {
        if (__atomic_load_n(&records[r].arrived, __ATOMIC_ACQUIRE) != arrived) g->failed_peer = r;
      }
    }
    if (status < 0) return status;
  }
  for (int r = 0; r < g->size; r++) {
    const group_record* other = &records[r];
    if (other->call != call.call || other->type != call.type || other->detail != call.detail ||
        other->count != call.count) {
      g->failed_peer = r;
      g->failed_record = *other;
      return -EPROTO;
    }
  }
  return 0;
}

// Where share `rank` of `count` elements begins: whole cache lines, so that no two ranks write one.
static uint64_t share_start(const weft_group* g, uint64_t count, uint32_t width, int rank) {
  if (rank == g->size) return count;
  uint64_t line = WEFT_LINE / width;
  return count * (uint64_t)rank / (uint64_t)g->size / line * line;
}

static void reduce_range(const weft_group* g, weft_combine combine, uint8_t* out, uint64_t start,
                         uint64_t count, uint32_t width) {
  const uint8_t* parts[WEFT_MAX_RANKS];
  for (int r = 0; r < g->size; r++) parts[r] = stage(g, r) + start * width;
  weft_tree_reduce(combine, out, parts, g->size, count, width);
}

// Large messages: each rank reduces its share of a chunk, and gathers the others' shares of the chunk
// before in the same round.
static int all_reduce_chunks(weft_group* g, uint8_t* buffer, weft_combine combine, uint32_t width,
                             group_record call, uint64_t deadline) {
  uint64_t chunk = g->slot_bytes / width;
  uint64_t chunks = (call.count + chunk - 1) / chunk;
  for (uint64_t k = 0; k <= chunks; k++) {
    uint64_t start = k * chunk;
    uint64_t length = k == chunks ? 0 : (call.count - start < chunk ? call.count - start : chunk);
    memcpy(stage(g, g->rank), buffer + start * width, length * width);
    int status = meet(g, call, deadline);
    if (status < 0) return status;
    if (length > 0) {
      uint64_t from = share_start(g, length, width, g->rank);
      uint64_t to = share_start(g, length, width, g->rank + 1);
      reduce_range(g, combine, result(g, g->rank, g->round), from, to - from, width);
    }
    if (k > 0) {
      uint64_t before = start - chunk;
      uint64_t gathered = call.count - before < chunk ? call.count - before : chunk;
      for (int r = 0; r < g->size; r++) {
        uint64_t from = share_start(g, gathered, width, r);
        uint64_t to = share_start(g, gathered, width, r + 1);
        memcpy(buffer + (before + from) * width, result(g, r, g->round - 1), (to - from) * width);
      }
    }
    g->round++;
  }
  return 0;
}

int32_t weft_group_all_reduce(weft_group* g, uint8_t* buffer, uint32_t count, uint32_t type,
                              uint32_t operation) {
  uint64_t deadline = weft_now_ns() + g->timeout_ns;
  uint32_t width = TYPE_BYTES[type];
  uint64_t bytes = (uint64_t)count * width;
  weft_combine combine = WEFT_COMBINES[type][operation];
  group_record call = {.call = CALL_ALL_REDUCE, .type = type, .detail = operation, .count = count};
  if (bytes > g->slot_bytes || bytes * (uint64_t)g->size > WEFT_SMALL_BYTES) {
    return all_reduce_chunks(g, buffer, combine, width, call, deadline);
  }
  memcpy(stage(g, g->rank), buffer, bytes);
  int status = meet(g, call, deadline);
  if (status < 0) return status;
  reduce_range(g, combine, buffer, 0, count, width);
  g->round++;
  return 0;
}

int32_t weft_group_all_gather(weft_group* g, uint8_t* output, const uint8_t* input, uint32_t count,
                              uint32_t type) {
  uint64_t deadline = weft_now_ns() + g->timeout_ns;
  uint64_t bytes = (uint64_t)count * TYPE_BYTES[type];
  group_record call = {.call = CALL_ALL_GATHER, .type = type, .count = count};
  uint64_t start = 0;
  do {
    uint64_t length = bytes - start < g->slot_bytes ? bytes - start : g->slot_bytes;
    memcpy(stage(g, g->rank), input + start, length);
    int status = meet(g, call, deadline);
    if (status < 0) return status;
    for (int r = 0; r < g->size; r++) {
      memcpy(output + (uint64_t)r * bytes + start, stage(g, r), length);
    }
    g->round++;
    start += length;
  } while (start < bytes);
  return 0;
}

int32_t weft_group_reduce_scatter(weft_group* g, uint8_t* output, const uint8_t* input, uint32_t count,
                                  uint32_t type, uint32_t operation) {
  uint64_t deadline = weft_now_ns() + g->timeout_ns;
  uint32_t width = TYPE_BYTES[type];
  weft_combine combine = WEFT_COMBINES[type][operation];
  group_record call = {
      .call = CALL_REDUCE_SCATTER, .type = type, .detail = operation, .count = count};
  uint64_t chunk = g->slot_bytes / (uint64_t)g->size / WEFT_LINE * WEFT_LINE / width;
  uint64_t start = 0;
  do {
    uint64_t length = count - start < chunk ? count - start : chunk;
    for (int r = 0; r < g->size; r++) {
      memcpy(stage(g, g->rank) + (uint64_t)r * chunk * width,
             input + ((uint64_t)r * count + start) * width, length * width);
    }
    int status = meet(g, call, deadline);
    if (status < 0) return status;
    reduce_range(g, combine, output + start * width, (uint64_t)g->rank * chunk, length, width);
    g->round++;
    start += length;
  } while (start < count);
  return 0;
}

int32_t weft_group_broadcast(weft_group* g, uint8_t* buffer, uint32_t count, uint32_t type,
                             uint32_t root) {
  uint64_t deadline = weft_now_ns() + g->timeout_ns;
  uint64_t bytes = (uint64_t)count * TYPE_BYTES[type];
  group_record call = {.call = CALL_BROADCAST, .type = type, .detail = root, .count = count};
  int sends = g->rank == (int)root;
  uint64_t start = 0;
  do {
    uint64_t length = bytes - start < g->slot_bytes ? bytes - start : g->slot_bytes;
    if (sends) memcpy(stage(g, g->rank), buffer + start, length);
    int status = meet(g, call, deadline);
    if (status < 0) return status;
    if (!sends) memcpy(buffer + start, stage(g, (int)root), length);
    g->round++;
    start += length;
  } while (start < bytes);
  return 0;
}

int32_t weft_group_barrier(weft_group* g) {
  int status = meet(g, (group_record){.call = CALL_BARRIER}, weft_now_ns() + g->timeout_ns);
  if (status < 0) return status;
  g->round++;
  return 0;
}

static weft_ring* channel(const weft_group* g, int from, int to) {
  uint64_t index = (uint64_t)from * (uint64_t)g->size + (uint64_t)to;
  return (weft_ring*)(g->channels + index * channel_stride(g->channel_bytes));
}

int32_t weft_group_send(weft_group* g, const uint8_t* buffer, uint32_t count, uint32_t type,
                        uint32_t peer) {
  if (weft_is_aborted(g->waiter.abort)) return -ECANCELED;
  g->failed_peer = (int)peer;
  weft_message message = {(uint64_t)count * TYPE_BYTES[type], type};
  return weft_ring_send(channel(g, g->rank, (int)peer), g->channel_bytes, message, buffer,
                        weft_now_ns() + g->timeout_ns, &g->waiter);
}

// -EPROTO when the peer sent another type or count, which weft_group_failure then tells.
int32_t weft_group_recv(weft_group* g, uint8_t* buffer, uint32_t count, uint32_t type, uint32_t peer) {
  if (weft_is_aborted(g->waiter.abort)) return -ECANCELED;
  g->failed_peer = (int)peer;
  weft_ring* ring = channel(g, (int)peer, g->rank);
  uint64_t deadline = weft_now_ns() + g->timeout_ns;
  uint64_t bytes = (uint64_t)count * TYPE_BYTES[type];
  weft_message message;
  int status = weft_ring_next(ring, g->channel_bytes, &message, deadline, &g->waiter);
  if (status < 0) return status;
  if (message.byte_length != bytes || message.tag != type) {
    uint32_t sent_type = message.tag < WEFT_TYPES ? (uint32_t)message.tag : 0;
    g->failed_record =
        (group_record){.type = sent_type, .count = message.byte_length / TYPE_BYTES[sent_type]};
    return -EPROTO;
  }
  return weft_ring_take(ring, g->channel_bytes, buffer, bytes, deadline, &g->waiter);
}

// Copies and fills in stream order.
//
// Pinned host memory is read and written when the copy runs, which is late. Pageable memory is
// staged as by the driver: it is read when the call is made, and written before the call returns.
#include <cstring>
#include <vector>

#include "capture.h"
#include "misuse.h"
#include "status.h"
#include "stream.h"

namespace cuda_emulator {

namespace {

// Values of cudaMemcpyKind.
enum CopyKind : int { kHostToHost = 0, kHostToDevice, kDeviceToHost, kDeviceToDevice, kDefault };

// Bytes that nobody has written are handed out as NaN of every type, and as -1.
constexpr unsigned char kPoison = 0xff;

// Rows of `width` bytes that lie `pitch` bytes apart.
struct Rows {
  unsigned char* address;
  std::size_t pitch;
  std::size_t width;
  std::size_t height;

  unsigned char* row(std::size_t index) const { return address + index * pitch; }
  std::size_t extent() const { return height == 0 ? 0 : (height - 1) * pitch + width; }
};

enum class Place { kDevice, kPinned, kPageable, kInvalid };

Place place_of(const char* function, const Rows& rows) {
  if (!rows.address) return Place::kInvalid;
  Allocation found;
  std::string why;
  const bool accessible = is_accessible(rows.address, rows.extent(), why);
  const bool known = find_allocation(rows.address, found);
  if (!known) {
    // Freed addresses and the gaps between allocations belong to nobody else.
    if (why.find("out of bounds") == std::string::npos) return Place::kPageable;
    misuse(function, why);
    return Place::kInvalid;
  }
  if (!accessible) {
    misuse(function, why);
    return Place::kInvalid;
  }
  return found.kind == MemoryKind::kDevice ? Place::kDevice : Place::kPinned;
}

bool fits(CopyKind kind, Place destination, Place source) {
  if (kind == kDefault) return true;
  const bool from_device = kind == kDeviceToHost || kind == kDeviceToDevice;
  const bool to_device = kind == kHostToDevice || kind == kDeviceToDevice;
  return (source == Place::kDevice) == from_device && (destination == Place::kDevice) == to_device;
}

void copy_rows(const Rows& destination, const Rows& source) {
  for (std::size_t index = 0; index < source.height; ++index) {
    unsigned char* to = destination.row(index);
    unsigned char* from = source.row(index);
    std::memmove(to, from, source.width);
    Allocation found;
    if (!find_allocation(from, found) || found.kind != MemoryKind::kDevice) {
      mark_written(to, source.width, Writer::kHost);
      continue;
    }
    if (find_allocation(to, found) && found.kind == MemoryKind::kDevice) {
      copy_written(to, from, source.width);
      continue;
    }
    for (std::size_t done = 0; done < source.width; ++done) {
      done += first_unwritten(from + done, source.width - done);
      if (done < source.width) to[done] = kPoison;
    }
    mark_written(to, source.width, Writer::kHost);
  }
}

class CopyOperation : public Operation {
 public:
  CopyOperation(Rows destination, Rows source, std::vector<unsigned char> staged)
      : destination_(destination), source_(source), staged_(std::move(staged)) {}

  Progress advance() override {
    Rows source = source_;
    if (!staged_.empty()) {
      source.address = staged_.data();
      source.pitch = source.width;
    }
    std::string why;
    if (!is_usable(destination_, why) || (staged_.empty() && !is_usable(source, why))) {
      report(Fault::kIllegalAddress, "a queued copy touches " + why);
      return Progress::kDone;
    }
    copy_rows(destination_, source);
    return Progress::kDone;
  }

  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<CopyOperation>(destination_, source_, staged_);
  }

  bool uses_host_memory(std::uintptr_t address, std::size_t bytes) const override {
    return overlaps(destination_, address, bytes) ||
           (staged_.empty() && overlaps(source_, address, bytes));
  }

 private:
  static bool overlaps(const Rows& rows, std::uintptr_t address, std::size_t bytes) {
    const auto start = reinterpret_cast<std::uintptr_t>(rows.address);
    return start < address + bytes && address < start + rows.extent();
  }

  // Memory may have been freed since the call. Pageable memory is not known here.
  static bool is_usable(const Rows& rows, std::string& why) {
    Allocation found;
    return !find_allocation(rows.address, found) || is_accessible(rows.address, rows.extent(), why);
  }

  Rows destination_;
  Rows source_;
  std::vector<unsigned char> staged_;  // empty unless the source was pageable
};

class FillOperation : public Operation {
 public:
  FillOperation(void* address, int value, std::size_t bytes)
      : address_(address), value_(value), bytes_(bytes) {}

  Progress advance() override {
    std::string why;
    if (is_accessible(address_, bytes_, why)) {
      std::memset(address_, value_, bytes_);
      // A kernel begins after the fills before it, even one that overlaps the kernel before it.
      mark_written(address_, bytes_, Writer::kHost);
    } else {
      report(Fault::kIllegalAddress, "a queued fill touches " + why);
    }
    return Progress::kDone;
  }

  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<FillOperation>(address_, value_, bytes_);
  }

 private:
  void* address_;
  int value_;
  std::size_t bytes_;
};

int wait_for_stream(const char* function, Handle handle) {
  Lock lock(runtime_mutex());
  auto stream = streams().find(handle);
  return synchronize(function, stream, stream->submitted, lock);
}

int copy(const char* function, Rows destination, Rows source, int kind, Handle stream) {
  if (kind < kHostToHost || kind > kDefault) return kInvalidMemcpyDirection;
  if (stream_device(stream) < 0) {
    misuse(function, "given what is no stream");
    return kInvalidResourceHandle;
  }
  if (source.width == 0 || source.height == 0) return kSuccess;
  const Place to = place_of(function, destination);
  const Place from = place_of(function, source);
  if (to == Place::kInvalid || from == Place::kInvalid) return kInvalidValue;
  if (!fits(static_cast<CopyKind>(kind), to, from)) {
    misuse(function, "the kind of the copy does not fit its addresses");
    return kInvalidValue;
  }
  const bool pageable = to == Place::kPageable || from == Place::kPageable;
  if (pageable && is_capturing(stream)) {
    misuse(function, "copies pageable memory during a capture");
    Lock lock(runtime_mutex());
    return invalidate_capture(*streams().find(stream));
  }
  std::vector<unsigned char> staged;
  if (from == Place::kPageable) {
    staged.resize(source.width * source.height);
    copy_rows({staged.data(), source.width, source.width, source.height}, source);
  }
  const int status = submit(function, stream, std::make_unique<CopyOperation>(
                                                  destination, source, std::move(staged)));
  if (status != kSuccess || to != Place::kPageable) return status;
  return wait_for_stream(function, stream);
}

}  // namespace

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

int cudaMemcpyAsync(void* destination, const void* source, std::size_t count, int kind,
                    Handle stream) {
  return api_call([&] {
    auto* to = static_cast<unsigned char*>(destination);
    auto* from = static_cast<unsigned char*>(const_cast<void*>(source));
    return copy("cudaMemcpyAsync", {to, count, count, 1}, {from, count, count, 1}, kind, stream);
  });
}

int cudaMemcpy2DAsync(void* destination, std::size_t destination_pitch, const void* source,
                      std::size_t source_pitch, std::size_t width, std::size_t height, int kind,
                      Handle stream) {
  return api_call([&]() -> int {
    if (width > destination_pitch || width > source_pitch) return kInvalidPitchValue;
    auto* to = static_cast<unsigned char*>(destination);
    auto* from = static_cast<unsigned char*>(const_cast<void*>(source));
    return copy("cudaMemcpy2DAsync", {to, destination_pitch, width, height},
                {from, source_pitch, width, height}, kind, stream);
  });
}

int cudaMemsetAsync(void* address, int value, std::size_t count, Handle stream) {
  return api_call([&]() -> int {
    if (count == 0) return kSuccess;
    std::string why;
    Allocation found;
    if (!is_accessible(address, count, why)) {
      misuse("cudaMemsetAsync", why);
      return kInvalidValue;
    }
    if (find_allocation(address, found) && found.kind != MemoryKind::kDevice) {
      misuse("cudaMemsetAsync", "given host memory");
      return kInvalidValue;
    }
    return submit("cudaMemsetAsync", stream,
                  std::make_unique<FillOperation>(address, value, count));
  });
}

}  // extern "C"

// Operations between ranks.
#include "calls.h"

using namespace cuda_emulator;

namespace {

Call make(Kind kind, const void* source, void* destination, std::size_t count, int type,
          int reduction, int peer) {
  return {kind,
          static_cast<const unsigned char*>(source),
          static_cast<unsigned char*>(destination),
          count,
          static_cast<NcclType>(type),
          static_cast<NcclReduction>(reduction),
          peer};
}

}  // namespace

extern "C" {

int ncclAllReduce(const void* source, void* destination, std::size_t count, int type, int reduction,
                  Handle communicator, Handle stream) {
  return make_call("ncclAllReduce", communicator, stream,
                   make(Kind::kAllReduce, source, destination, count, type, reduction, 0));
}

int ncclAllGather(const void* source, void* destination, std::size_t count, int type,
                  Handle communicator, Handle stream) {
  return make_call("ncclAllGather", communicator, stream,
                   make(Kind::kAllGather, source, destination, count, type, 0, 0));
}

int ncclReduceScatter(const void* source, void* destination, std::size_t count, int type,
                      int reduction, Handle communicator, Handle stream) {
  return make_call("ncclReduceScatter", communicator, stream,
                   make(Kind::kReduceScatter, source, destination, count, type, reduction, 0));
}

int ncclBroadcast(const void* source, void* destination, std::size_t count, int type, int root,
                  Handle communicator, Handle stream) {
  return make_call("ncclBroadcast", communicator, stream,
                   make(Kind::kBroadcast, source, destination, count, type, 0, root));
}

int ncclSend(const void* source, std::size_t count, int type, int peer, Handle communicator,
             Handle stream) {
  return make_call("ncclSend", communicator, stream,
                   make(Kind::kSend, source, nullptr, count, type, 0, peer));
}

int ncclRecv(void* destination, std::size_t count, int type, int peer, Handle communicator,
             Handle stream) {
  return make_call("ncclRecv", communicator, stream,
                   make(Kind::kReceive, nullptr, destination, count, type, 0, peer));
}

int ncclGroupStart() { return start_group(); }

int ncclGroupEnd() { return end_group(); }

}  // extern "C"

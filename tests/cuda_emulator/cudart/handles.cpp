#include "handles.h"

#include <algorithm>

namespace cuda_emulator {

namespace {

struct Tables {
  std::mutex mutex;
  std::vector<HandleTableBase*> tables;
  std::uintptr_t tags = 0;
};

Tables& tables() {
  static Tables& tables = *new Tables;
  return tables;
}

}  // namespace

HandleTableBase::HandleTableBase(const char* kind) : kind_(kind) {
  std::lock_guard lock(tables().mutex);
  // Above any user address, so that a handle is never taken for memory.
  tag_ = (std::uintptr_t{0x5EF7} << 48) | (++tables().tags << 40);
  tables().tables.push_back(this);
}

HandleTableBase::~HandleTableBase() {
  std::lock_guard lock(tables().mutex);
  std::erase(tables().tables, this);
}

Handle HandleTableBase::next_handle() { return tag_ | (++count_ << 4); }

std::vector<HandleTableBase*> handle_tables() {
  std::lock_guard lock(tables().mutex);
  return tables().tables;
}

}  // namespace cuda_emulator

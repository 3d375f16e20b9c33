// Tables of handles. A handle is a number that is never given twice, so a stale one, or one of
// another kind, is always noticed.
#ifndef CUDA_EMULATOR_CUDART_HANDLES_H
#define CUDA_EMULATOR_CUDART_HANDLES_H

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace cuda_emulator {

using Handle = std::uintptr_t;

// What every table can say, for the search for leaks.
class HandleTableBase {
 public:
  explicit HandleTableBase(const char* kind);
  virtual ~HandleTableBase();
  const char* kind() const { return kind_; }
  virtual std::size_t size() const = 0;
  virtual void clear() = 0;

 protected:
  Handle next_handle();

 private:
  const char* kind_;
  std::uintptr_t tag_;
  std::uintptr_t count_ = 0;
};

// All tables of the process, those of the cuBLAS and NCCL libraries included.
std::vector<HandleTableBase*> handle_tables();

template <typename Object>
class HandleTable : public HandleTableBase {
 public:
  using HandleTableBase::HandleTableBase;

  Handle insert(std::shared_ptr<Object> object) {
    std::lock_guard lock(mutex_);
    Handle handle = next_handle();
    objects_.emplace(handle, std::move(object));
    return handle;
  }

  // Null for what is not, or no longer, a handle of this table.
  std::shared_ptr<Object> find(Handle handle) const {
    std::lock_guard lock(mutex_);
    auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }

  // Takes the object out of the table; null as with find().
  std::shared_ptr<Object> remove(Handle handle) {
    std::lock_guard lock(mutex_);
    auto found = objects_.find(handle);
    if (found == objects_.end()) return nullptr;
    std::shared_ptr<Object> object = std::move(found->second);
    objects_.erase(found);
    return object;
  }

  std::vector<std::shared_ptr<Object>> all() const {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Object>> objects;
    for (const auto& [handle, object] : objects_) objects.push_back(object);
    return objects;
  }

  std::size_t size() const override {
    std::lock_guard lock(mutex_);
    return objects_.size();
  }

  void clear() override {
    std::map<Handle, std::shared_ptr<Object>> objects;
    std::lock_guard lock(mutex_);
    // Swapped out first: destroying an object may look into the table again.
    objects.swap(objects_);
  }

 private:
  mutable std::recursive_mutex mutex_;
  std::map<Handle, std::shared_ptr<Object>> objects_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_HANDLES_H

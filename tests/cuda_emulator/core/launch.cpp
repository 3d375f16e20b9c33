// Launches: all blocks of a grid, one after another, in an order that changes from launch to launch
// as it does on a GPU.
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <random>
#include <string>

#include "block.h"
#include "kernel_image.h"

namespace cuda_emulator {

namespace {

// The turn of the kernel that runs, and where the random orders come from.
struct Turn {
  std::mutex mutex;
  std::uint64_t seed;
  std::mt19937_64 random;

  Turn() {
    const char* text = std::getenv("WEFT_EMULATED_SEED");
    seed = text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
    random.seed(seed);
  }
};

Turn& turn() {
  static auto& instance = *new Turn;  // never destroyed: kernels may run at any time
  return instance;
}

}  // namespace

bool run_kernel(const Launch& launch, void** arguments) {
  Turn& current = turn();
  const std::lock_guard<std::mutex> lock(current.mutex);
  const unsigned(&grid)[3] = launch.grid;
  std::vector<std::size_t> order(std::size_t{grid[0]} * grid[1] * grid[2]);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), current.random);
  Block& block = Block::running();
  for (const std::size_t index : order) {
    const Index3 position{static_cast<unsigned>(index % grid[0]),
                          static_cast<unsigned>(index / grid[0] % grid[1]),
                          static_cast<unsigned>(index / grid[0] / grid[1])};
    if (block.run(launch, arguments, position, current.random)) continue;
    report(block.fault(), block.failure() + source_line(block.failure_code()) + " (seed " +
                              std::to_string(current.seed) + ")");
    return false;
  }
  return true;
}

}  // namespace cuda_emulator

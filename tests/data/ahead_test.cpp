#include "igebm/data/ahead.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace igebm::data {
namespace {

TEST(BatchesAhead, AreThoseOfBatchesWhateverIsAskedFor) {
  const Options options{.name = "dsprites-drawn", .flip = true, .validation = 0, .count = 50};
  const Batches batches(load(options, Split::train, 3), options, 3), others(load(options, Split::train, 3), options, 3);
  ASSERT_GT(batches.bytes(), 0);
  BatchesAhead ahead(batches);
  // In turn over epochs, again, back as after a rollback, of another size, and far on.
  for (const auto& [first, size] :
       {std::pair(0, 16), std::pair(16, 16), std::pair(32, 16), std::pair(48, 16), std::pair(48, 16), std::pair(16, 16),
        std::pair(32, 8), std::pair(40, 8), std::pair(1000, 8)}) {
    const Batch got = ahead.take(first, size), want = others.from(first, size);
    EXPECT_TRUE(at::equal(got.x, want.x)) << first;
    EXPECT_TRUE(at::equal(got.labels, want.labels)) << first;
  }
}

}  // namespace
}  // namespace igebm::data

#include "igebm/io/base64.h"

#include <gtest/gtest.h>

namespace igebm::io {
namespace {

TEST(Base64, ComesBackWhateverTheLength) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(bytes_of_base64(base64(bytes)), bytes) << i;
    bytes += static_cast<char>(i * 7);
  }
  EXPECT_EQ(bytes_of_base64("Zm9vYg=="), "foob");  // RFC 4648, section 10
}

TEST(Base64, RefusesWhatIsNone) {
  for (const char* text : {"Zm9", "Zm9v!mFy", "Zm=v", "====", "Z===", "Zm9vYg==Zm9v"})
    EXPECT_EQ(bytes_of_base64(text), std::nullopt) << text;
}

}  // namespace
}  // namespace igebm::io

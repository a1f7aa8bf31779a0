#include "igebm/base/device.h"

#include <gtest/gtest.h>

#include "igebm/base/error.h"

namespace igebm {
namespace {

std::string problem(const std::string& name) {
  try {
    find_device(name);
    return "";
  } catch (const UserError& e) {
    return e.what();
  }
}

TEST(Device, NamesAreTakenOrRefusedWithTheReason) {
  EXPECT_TRUE(find_device("cpu").is_cpu());
  EXPECT_EQ(find_device("auto").is_cuda(), cuda_devices() > 0);
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:100", "cuda:-1", "cpu:0"})
    EXPECT_NE(problem(name).find("expected \"cpu\""), std::string::npos) << name;
  if (!built_with_cuda()) {
    EXPECT_EQ(cuda_devices(), 0);
    EXPECT_NE(problem("cuda").find("built without CUDA"), std::string::npos) << problem("cuda");
  } else if (cuda_devices() == 0) {
    EXPECT_NE(problem("cuda").find("no CUDA device found"), std::string::npos) << problem("cuda");
  } else {
    EXPECT_EQ(find_device("cuda").str(), "cuda:0");
    EXPECT_NE(problem("cuda:99").find("no \"cuda:99\""), std::string::npos) << problem("cuda:99");
  }
}

}  // namespace
}  // namespace igebm

#include "igebm/model/shipped.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "igebm/io/files.h"
#include "igebm/model/model.h"
#include "igebm/nn/architectures.h"
#include "tests/refusals.h"

namespace igebm::model {
namespace {

namespace fs = std::filesystem;

class ShippedModels : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("igebm-models{}", getpid());
    fs::remove_all(folder);
    setenv("IGEBM_MODELS", folder.c_str(), 1);
    const nn::Network network(nn::mlp({{4}}, {2}), 1);
    for (const char* name : {"rings", "a-cards-model"}) {
      fs::create_directories(folder / name);
      write_network_file(folder / name / "network.safetensors", {network.graph(), {}, {}, {}}, network.parameters());
      io::write_atomically(folder / name / "recipe.toml", "[run]\nseed = 9\n");
    }
    io::write_atomically(folder / "a-cards-model" / "README.md", "# Title\n\nTwo lines\nof words.\n\nMore.\n");
    fs::create_directories(folder / "no-model");
  }
  void TearDown() override {
    unsetenv("IGEBM_MODELS");
    fs::remove_all(folder);
  }
  fs::path folder;
};

TEST_F(ShippedModels, AreFoundByName) {
  std::vector<Shipped> mine;
  for (const Shipped& m : shipped_models()) {
    if (m.folder.parent_path() == folder) mine.push_back(m);
  }
  ASSERT_EQ(mine.size(), 2U);
  EXPECT_EQ(mine[0].name, "a-cards-model");
  EXPECT_EQ(mine[0].about, "Two lines of words.");
  EXPECT_EQ(mine[1].about, "");
  EXPECT_EQ(find_model("rings"), folder / "rings");
  EXPECT_EQ(Model::open("rings").settings().seed, 9);
  EXPECT_EQ(Model::open("rings", {}, {.seed = 3}).settings().seed, 3);
}

TEST_F(ShippedModels, GiveWayToFilesAndTellOfNearNames) {
  EXPECT_EQ(find_model(folder / "rings"), folder / "rings");
  EXPECT_EQ(find_model("no/such/place"), "no/such/place");
  EXPECT_SAYS(find_model("ringz"), "did you mean \"rings\"?");
  EXPECT_SAYS(Model::open("no/such/place"), "no/such/place");
  const fs::path before = fs::current_path();
  fs::create_directories(folder / "here" / "rings");
  fs::current_path(folder / "here");
  EXPECT_EQ(find_model("rings"), "rings");
  fs::current_path(before);
}

}  // namespace
}  // namespace igebm::model

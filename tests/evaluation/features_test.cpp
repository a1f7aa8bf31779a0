#include "igebm/evaluation/features.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "igebm/base/error.h"
#include "igebm/evaluation/oriented_gradients.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/safetensors.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"

namespace igebm::evaluation {
namespace {

namespace fs = std::filesystem;

class Extraction : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("igebm-features-{}-{}", getpid(),
                                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  /// False where the environment lacks torch.
  bool make_with_python() const {
    const std::string python = IGEBM_SOURCE_DIR "/.venv/bin/python";
    if (std::system((python + " -c 'import numpy, torch' 2>/dev/null").c_str()) != 0) return false;
    EXPECT_EQ(std::system((python + " " IGEBM_SOURCE_DIR "/tests/evaluation/extractors.py " + folder.string()).c_str()),
              0);
    return true;
  }
  static void expect_refused(const fs::path& path, const std::string& what) {
    try {
      load_features(path);
      ADD_FAILURE() << path << ": expected \"" << what << "\"";
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(path.filename().string()), std::string::npos) << e.what();
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    }
  }

  fs::path folder;
};

void expect_near(const at::Tensor& got, const at::Tensor& want) {
  ASSERT_EQ(got.sizes(), want.sizes());
  EXPECT_LT((got.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>(),
            1e-5 * (1 + want.abs().max().item<double>()));
}

TEST_F(Extraction, ExtractorsGiveWhatPyTorchsDefinitionsGive) {
  if (!make_with_python()) GTEST_SKIP() << "no numpy and torch for Python";
  const auto expected = io::read_npz(folder / "expected.npz");
  const at::Tensor small = expected.at("small");
  const auto resnet = load_features(folder / "resnet.npz")->extract(expected.at("pictures"));
  expect_near(resnet.features, expected.at("resnet"));
  expect_near(resnet.probabilities, expected.at("resnet_probabilities"));
  const auto inception = load_features(folder / "inception.pt")->extract(small);
  expect_near(inception.features, expected.at("inception"));
  expect_near(inception.probabilities, expected.at("inception_probabilities"));
  expect_near(load_features(folder / "inception.pt")->extract(small.slice(1, 0, 1)).features,
              expected.at("inception_grey"));
  const auto plain = load_features(folder / "plain.pt")->extract(small);
  expect_near(plain.features, expected.at("plain"));
  EXPECT_FALSE(plain.probabilities.defined());
}

TEST_F(Extraction, BadFilesAreNamedInOneLine) {
  expect_refused(folder / "absent.npz", "no such features");
  io::write_atomically(folder / "notes.txt", "text");
  expect_refused(folder / "notes.txt", "expected features in");
  io::write_atomically(folder / "broken.pt", "PK nonsense");
  expect_refused(folder / "broken.pt",
                 "expected a TorchScript module, got another file or a truncated one; a state dict (.pth) is not one");
  io::write_npz(folder / "other.npz", {{"w", at::zeros({2})}});
  expect_refused(folder / "other.npz", "not a CIFAR ResNet");
  io::write_safetensors(folder / "foreign.safetensors", {{"w", at::zeros({2})}});
  expect_refused(folder / "foreign.safetensors", "not a model of igebm");
  const nn::Network energy(nn::mlp({{4}}, {2}), 0);
  io::write_safetensors(folder / "energy.safetensors", energy.parameters(),
                        {{"format", "igebm"}, {"version", "1"}, {"graph", nn::to_json(energy.graph())}});
  expect_refused(folder / "energy.safetensors", "not a classifier");
  if (!make_with_python()) return;
  for (const char* name : {"resnet.npz", "inception.pt"}) {
    const std::string bytes = io::read_file(folder / name);
    io::write_atomically(folder / name, bytes.substr(0, bytes.size() / 2));
    expect_refused(folder / name, "truncated");
  }
  EXPECT_THROW(load_features(folder / "plain.pt")->extract(at::zeros({3, 2})), UserError);
}

TEST_F(Extraction, ShapesThatDoNotFitAreRefused) {
  if (!make_with_python()) GTEST_SKIP() << "no numpy and torch for Python";
  EXPECT_THROW(load_features(folder / "resnet.npz")->extract(at::zeros({2, 1, 32, 32})), UserError);
  EXPECT_THROW(load_features(folder / "inception.pt")->extract(at::zeros({2, 3, 9, 9})), UserError);
  auto arrays = io::read_npz(folder / "resnet.npz");
  arrays["layer2.1.conv2.weight"] = at::zeros({32, 32, 1, 1});
  io::write_npz(folder / "resnet.npz", arrays);
  expect_refused(folder / "resnet.npz", "layer2.1.conv2.weight: expected shape (32, 32, 3, 3)");
  arrays.erase("layer2.1.conv2.weight");
  io::write_npz(folder / "resnet.npz", arrays);
  expect_refused(folder / "resnet.npz", "lacks the array");
}

TEST_F(Extraction, AClassifiersFeaturesEnterItsHead) {
  const nn::Network network(nn::classifier({.channels = {4, 6}, .features = 5}, {1, 8, 8}, 3), 2);
  const auto write = [&](const char* low) {
    io::write_safetensors(
        folder / "c.safetensors", network.parameters(),
        {{"format", "igebm"}, {"version", "1"}, {"graph", nn::to_json(network.graph())}, {"low", low}});
    return load_features(folder / "c.safetensors");
  };
  at::manual_seed(0);
  const at::Tensor x = at::rand({7, 1, 8, 8});
  const auto got = write("-1")->extract(x);  // trained on pictures in [-1, 1]
  EXPECT_EQ(got.features.sizes(), at::IntArrayRef({7, 5}));
  const at::Tensor logits = nn::evaluate(network.graph(), network.effective_weights(), 2 * x - 1);
  expect_near(got.probabilities, at::softmax(logits, 1));
  const auto& p = network.parameters();
  expect_near(at::linear(got.features, p.at("head.weight"), p.at("head.bias")), logits);
  EXPECT_GT((write("0")->extract(x).features - got.features).abs().max().item<double>(), 1e-3);
  EXPECT_THROW(write("0")->extract(at::zeros({2, 3, 8, 8})), UserError);
}

/// The trained networks of the published checkpoints, where IGEBM_DATA holds them beside CIFAR-10's test pictures.
TEST_F(Extraction, TheCifarResNetsClassifyCifar) {
  const char* data = std::getenv("IGEBM_DATA");
  const fs::path place = data == nullptr ? fs::path() : fs::path(data);
  const fs::path records = place / "cifar10/test_batch_first1000.bin";
  if (data == nullptr || !fs::exists(records)) GTEST_SKIP() << "IGEBM_DATA names no folder with CIFAR-10 in it";
  const std::string bytes = io::read_file(records);
  const at::Tensor table =
      at::tensor(std::vector<std::uint8_t>(bytes.begin(), bytes.end()), at::kByte).reshape({-1, 3073});
  const at::Tensor pictures = table.slice(1, 1).reshape({-1, 3, 32, 32}), labels = table.select(1, 0).to(at::kLong);
  for (const auto& [name, share] :
       std::map<std::string, double>{{"resnet20-12fca82f", 0.915}, {"resnet56-4bfd9763", 0.926}}) {
    const auto e = extract_all(*load_features(place / "feature-extractors" / (name + ".npz")), pictures);
    EXPECT_NEAR(e.probabilities.argmax(1).eq(labels).to(at::kDouble).mean().item<double>(), share, 0.0015) << name;
  }
}

class Brightness : public Features {
 public:
  Extracted extract(const at::Tensor& x) const override {
    batches.push_back(x.size(0));
    return {x.flatten(1), {}};
  }
  std::string description() const override { return "pixels"; }
  mutable std::vector<std::int64_t> batches;
};

TEST(GradientFeatures, AreOrientedGradientsOfAnyPictures) {
  const FeaturesPtr features = load_features(gradients_name);
  const at::Tensor small = at::rand({3, 1, 28, 28});
  const at::Tensor found = features->extract(small).features;
  EXPECT_EQ(found.sizes(), (std::vector<std::int64_t>{3, 144}));
  const at::Tensor maps = oriented_gradients(small).view({3, 9, 8, 8});
  const at::Tensor last = maps.slice(2, 6).slice(3, 6).mean({2, 3}) * 10;  // the lower right square of each map
  EXPECT_LT((found.view({3, 9, 4, 4}).select(3, 3).select(2, 3) - last).abs().max().item<double>(), 1e-5);
  // Larger ones are shrunk: as their means over blocks.
  const at::Tensor colour = at::rand({2, 3, 64, 48});
  const at::Tensor half = colour.view({2, 3, 32, 2, 24, 2}).mean({3, 5});
  EXPECT_LT((features->extract(colour).features - features->extract(half).features).abs().max().item<double>(), 1e-4);
}

TEST(ExtractAll, TakesPicturesAsEightBits) {
  const at::Tensor bytes = at::arange(256).to(at::kByte).reshape({256, 1, 1, 1});
  const at::Tensor exact = bytes.to(at::kFloat) / 255;
  Brightness features;
  EXPECT_TRUE(at::equal(extract_all(features, bytes, 100).features.flatten(), exact.flatten()));
  EXPECT_EQ(features.batches, (std::vector<std::int64_t>{100, 100, 56}));
  EXPECT_TRUE(at::equal(extract_all(features, exact).features.flatten(), exact.flatten()));
  for (const double u : {0.0, 0.3, 0.999}) {  // dequantised
    const at::Tensor x = (bytes.to(at::kFloat) + u) / 256;
    EXPECT_TRUE(at::equal(extract_all(features, x).features.flatten(), exact.flatten())) << u;
  }
}

}  // namespace
}  // namespace igebm::evaluation

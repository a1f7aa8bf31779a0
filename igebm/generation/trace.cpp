#include "igebm/generation/trace.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "igebm/io/picture.h"

namespace igebm::generation {
namespace {

constexpr std::size_t shown = 8;  // chains of the picture
constexpr std::array<std::array<std::uint8_t, 3>, shown> colours = {{{31, 119, 180},
                                                                     {255, 127, 14},
                                                                     {44, 160, 44},
                                                                     {214, 39, 40},
                                                                     {148, 103, 189},
                                                                     {140, 86, 75},
                                                                     {227, 119, 194},
                                                                     {23, 190, 207}}};

float distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).to(at::kDouble).square().sum().sqrt().to(at::kFloat).item<float>();
}

}  // namespace

Trace::Trace(std::int64_t count, std::vector<std::int64_t> pictures_after, std::vector<double> sigmas)
    : pictures_after_(std::move(pictures_after)),
      sigmas_(std::move(sigmas)),
      chains_(static_cast<std::size_t>(count)) {}

void Trace::record(const sampling::StepInfo& info, const sampling::Chains& chains, const at::Tensor& sigma) {
  const at::Tensor x = chains.x.cpu(), streams = chains.stream.cpu(), levels = sigma.defined() ? sigma.cpu() : sigma;
  for (std::int64_t i = 0; i < chains.size(); ++i) {
    const auto place = places_.try_emplace(streams.const_data_ptr<std::int64_t>()[i], places_.size()).first->second;
    One& one = chains_.at(place);
    const sampling::ChainInfo& chain = info.chains.at(static_cast<std::size_t>(i));
    const std::size_t step = one.energy.size();
    one.energy.push_back(chain.energy), one.gradient.push_back(static_cast<float>(chain.gradient_norm()));
    one.moved.push_back(one.x.defined() ? distance(x[i], one.x) : std::numeric_limits<float>::quiet_NaN());
    if (levels.defined()) {
      one.sigma.push_back(static_cast<float>(levels.const_data_ptr<double>()[i]));
    } else if (step < sigmas_.size()) {
      one.sigma.push_back(static_cast<float>(sigmas_[step]));
    }
    one.x = x[i].clone();
    const auto after = static_cast<std::int64_t>(step + 1);
    if (std::ranges::find(pictures_after_, after) != pictures_after_.end()) one.pictures[after] = one.x;
  }
}

std::map<std::string, at::Tensor> Trace::arrays() const {
  std::size_t longest = 0;
  bool levels = false;
  for (const One& one : chains_) longest = std::max(longest, one.energy.size()), levels = levels || !one.sigma.empty();
  const auto count = static_cast<std::int64_t>(chains_.size()), steps = static_cast<std::int64_t>(longest);
  std::map<std::string, at::Tensor> arrays;
  const auto add = [&](const char* name, const std::vector<float> One::*figure) {
    at::Tensor all = at::full({count, steps}, std::numeric_limits<double>::quiet_NaN(), at::kFloat);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& row = chains_[static_cast<std::size_t>(i)].*figure;
      std::copy(row.begin(), row.end(), all.data_ptr<float>() + i * steps);
    }
    arrays[name] = all;
  };
  add("energy", &One::energy), add("gradient_norm", &One::gradient), add("moved", &One::moved);
  if (levels) add("sigma", &One::sigma);
  std::vector<at::Tensor> pictures;
  std::vector<std::int64_t> reached;
  for (const std::int64_t after : pictures_after_) {
    if (after > steps) continue;
    std::vector<at::Tensor> row;
    for (const One& one : chains_) {
      const auto found = one.pictures.find(after);
      if (one.x.defined()) row.push_back(found != one.pictures.end() ? found->second : one.x);
    }
    if (row.size() == chains_.size()) pictures.push_back(at::stack(row)), reached.push_back(after);
  }
  if (!pictures.empty()) {
    arrays["pictures"] = at::stack(pictures);
    arrays["picture_steps"] = at::tensor(reached, at::kLong);
  }
  return arrays;
}

std::vector<io::Curve> Trace::curves(const std::vector<float> One::*figure) const {
  std::vector<io::Curve> all;
  std::vector<double> sums, counts;
  for (std::size_t c = 0; c < chains_.size(); ++c) {
    const auto& row = chains_[c].*figure;
    io::Curve curve;
    if (c < shown) curve.colour = colours[c];
    for (std::size_t i = 0; i < row.size(); ++i) {
      curve.x.push_back(static_cast<double>(i + 1)), curve.y.push_back(row[i]);
      if (sums.size() <= i) sums.push_back(0), counts.push_back(0);
      if (std::isfinite(row[i])) sums[i] += row[i], ++counts[i];
    }
    if (c < shown) all.push_back(curve);
  }
  io::Curve mean;
  for (std::size_t i = 0; i < sums.size(); ++i)
    mean.x.push_back(static_cast<double>(i + 1)), mean.y.push_back(sums[i] / counts[i]);
  if (chains_.size() > 1) all.push_back(mean);
  return all;
}

at::Tensor Trace::picture(const model::SampleSpace& space) const {
  constexpr std::int64_t width = 560, height = 240;
  const char* step = "steps";
  const auto panel = [&](const char* title, bool logarithmic, const std::vector<float> One::*figure) {
    return io::draw({title, step, logarithmic, curves(figure)}, width, height);
  };
  const bool levels = std::ranges::any_of(chains_, [](const One& one) { return !one.sigma.empty(); });
  std::vector<at::Tensor> rows = {
      at::cat({panel("energy", false, &One::energy), panel("gradient norm", true, &One::gradient)}, 1),
      at::cat({panel("distance moved in a step", true, &One::moved),
               levels ? panel("noise level", true, &One::sigma) : at::full({height, width, 3}, 255, at::kByte)},
              1)};
  rows.push_back(io::draw_text("in colour: the first chains; black: mean of all that still move", 2 * width));
  const auto all = arrays();
  const auto found = all.find("pictures");
  if (found != all.end() && space.kind == model::SampleSpace::Kind::image && io::has_picture(space.shape)) {
    std::string after = "below, a row for each chain, after steps";
    const at::Tensor steps = all.at("picture_steps");
    for (std::int64_t i = 0; i < steps.size(0); ++i)
      after.append(" ").append(std::to_string(steps[i].item<std::int64_t>()));
    rows.push_back(io::draw_text(after, 2 * width));
    const at::Tensor strips = found->second.slice(1, 0, shown).transpose(0, 1);  // (chains, pictures, ...)
    at::Tensor grid = io::grid(space.to_unit(strips.flatten(0, 1)), strips.size(1));
    if (grid.size(2) == 1) grid = grid.expand({-1, -1, 3});
    grid = grid.slice(1, 0, 2 * width);
    rows.push_back(at::cat({grid, at::full({grid.size(0), 2 * width - grid.size(1), 3}, 255, at::kByte)}, 1));
  }
  return at::cat(rows);
}

}  // namespace igebm::generation

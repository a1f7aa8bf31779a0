#include "igebm/engine/heads.h"

#include <ATen/ATen.h>

#include <cmath>

#include "igebm/engine/operations.h"

namespace igebm::engine {

using nn::Node;
using nn::Op;

namespace {

/// In messages.
}  // namespace

at::Tensor Heads::tokens(const at::Tensor& picture) { return picture.flatten(2).transpose(1, 2); }

at::Tensor Heads::picture(const at::Tensor& tokens, const at::Tensor& like) {
  return tokens.transpose(1, 2).unflatten(2, {like.size(2), like.size(3)});
}

double Heads::score_scale(const at::Tensor& queries) { return 1 / std::sqrt(static_cast<double>(queries.size(1))); }

at::Tensor Heads::planes(const at::Tensor& labels, const at::Tensor& beside) const {
  at::Tensor rows = labels;
  if (graph_.classes > 0) {
    rows = at::zeros({labels.size(0), graph_.classes}, beside.options());
    rows.scatter_(1, labels.unsqueeze(1), 1);
  }
  return rows.to(beside.scalar_type())
      .unsqueeze(-1)
      .unsqueeze(-1)
      .expand({beside.size(0), rows.size(1), beside.size(2), beside.size(3)});
}

const at::Tensor& Heads::layer(const Node& n) const {  // a layer to one number is exact
  const auto found = packed_.find(n.name + ".weight");
  return found == packed_.end() ? exact_weights_.at(n.name + ".weight") : found->second;
}

at::Tensor Heads::value(const Node& n, const at::Tensor& in, const at::Tensor& labels,
                        const std::vector<at::Tensor>& values, Kept& kept) const {
  const auto other = [&](std::size_t i) -> const at::Tensor& { return values[static_cast<std::size_t>(n.inputs[i])]; };
  const auto but_first = [](const at::Tensor& t) {
    std::vector<std::int64_t> dims;
    for (std::int64_t d = 1; d < t.dim(); ++d) dims.push_back(d);
    return dims;
  };
  switch (n.op) {
    case Op::conv2d:
      kept.input = nn::padded_at_end(in.to(compute_), n.padding_end).contiguous(at::MemoryFormat::ChannelsLast);
      return at::conv2d(kept.input, layer(n), {}, n.stride, n.padding);
    case Op::linear:
      return at::linear(in.to(layer(n).scalar_type()), layer(n));
    case Op::affine:
      return in * n.scale + n.shift;
    case Op::avg_pool:
      return block_sums(in, n.k, 1 / static_cast<double>(n.k * n.k));
    case Op::upsample:
      return spread(in, n.k, 1);
    case Op::unshuffle:
      return at::pixel_unshuffle(in, n.k);
    case Op::add:
      return in + other(1);
    case Op::concat:
      return at::cat({in, other(1)}, 1);
    case Op::sum_pool:
      return at::sum(in, {2, 3}, /*keepdim=*/false, exact_);
    case Op::mean_pool:
      return at::mean(in, {2, 3}, /*keepdim=*/false, exact_);
    case Op::flatten:
      return in.flatten(1);
    case Op::inner:
      return (in.to(exact_) * other(1).to(exact_)).sum(but_first(in));
    case Op::half_square:
      return 0.5 * in.to(exact_).square().sum(but_first(in));
    case Op::squeeze:
      return in.squeeze(1);
    case Op::label_planes:
      return at::cat({in, planes(labels, in)}, 1);
    case Op::attention: {
      const at::Tensor q = tokens(in).to(compute_), k = tokens(other(1)).to(compute_),
                       v = tokens(other(2)).to(compute_);
      kept.share = at::softmax(at::matmul(q, k.transpose(1, 2)).to(exact_) * score_scale(in), -1);
      return picture(at::matmul(kept.share.to(compute_), v), in);
    }
    case Op::label_bias:
    case Op::label_gain:
    case Op::leaky_relu:
    case Op::silu:
    case Op::group_norm:
    case Op::dropout:
    case Op::input:
      break;
  }
  nn::unhandled(n.op, backend, "head of a step of the ");
}

void Heads::gradient(const Node& n, const at::Tensor& in, const at::Tensor& g, const std::vector<at::Tensor>& values,
                     const Kept& kept, Sums& sums) const {
  const auto give = [&](const at::Tensor& gradient) { sums.add(n.inputs[0], gradient); };
  const auto other = [&](std::size_t i) -> const at::Tensor& { return values[static_cast<std::size_t>(n.inputs[i])]; };
  const auto over = [&](const at::Tensor& rows) {  // (N) or (N, C) spread over `in`
    at::Tensor out = rows;
    while (out.dim() < in.dim()) out = out.unsqueeze(-1);
    return out;
  };
  switch (n.op) {
    case Op::conv2d:
      give(nn::padded_at_end(std::get<0>(of_convolution(n, g, kept.input, {true, false, false})), -n.padding_end));
      return;
    case Op::linear:
      give(at::matmul(g.to(layer(n).scalar_type()), layer(n)));
      return;
    case Op::affine:
      give(g * n.scale);
      return;
    case Op::avg_pool:
      give(of_pool(n, g.to(in.scalar_type()), in));
      return;
    case Op::upsample:
      give(block_sums(g.to(in.scalar_type()), n.k, 1));
      return;
    case Op::unshuffle:
      give(at::pixel_shuffle(g, n.k));
      return;
    case Op::add:
      give(g);
      sums.add(n.inputs[1], g);
      return;
    case Op::concat:
      give(g.narrow(1, 0, in.size(1)));
      sums.add(n.inputs[1], g.narrow(1, in.size(1), g.size(1) - in.size(1)));
      return;
    case Op::sum_pool:
      give(over(g.to(in.scalar_type())).expand(in.sizes()));
      return;
    case Op::mean_pool:
      give(over((g / (in.size(2) * in.size(3))).to(in.scalar_type())).expand(in.sizes()));
      return;
    case Op::flatten:
      give(g.reshape(in.sizes()));
      return;
    case Op::inner:
      give(over(g) * other(1).to(exact_));
      sums.add(n.inputs[1], over(g) * in.to(exact_));
      return;
    case Op::half_square:
      give(over(g) * in.to(exact_));
      return;
    case Op::squeeze:
      give(g.unsqueeze(1));
      return;
    case Op::label_planes:
      give(g.narrow(1, 0, in.size(1)));
      return;
    case Op::attention: {
      const auto all = of_attention(in, other(1), other(2), g, kept.share);
      for (std::size_t i = 0; i < 3; ++i) sums.add(n.inputs[i], all[i]);
      return;
    }
    case Op::label_bias:
    case Op::label_gain:
    case Op::leaky_relu:
    case Op::silu:
    case Op::group_norm:
    case Op::dropout:
    case Op::input:
      break;
  }
  nn::unhandled(n.op, backend, "gradient of the ");
}

at::Tensor Heads::of_pool(const Node& n, const at::Tensor& g, const at::Tensor& in) {
  if (in.size(2) % n.k == 0 && in.size(3) % n.k == 0) return spread(g, n.k, 1 / static_cast<double>(n.k * n.k));
  return at::avg_pool2d_backward(g, in, {n.k, n.k}, {n.k, n.k}, {0, 0}, false, true, std::nullopt);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Heads::of_convolution(const Node& n, const at::Tensor& g,
                                                                     const at::Tensor& input,
                                                                     std::array<bool, 3> wanted) const {
  const std::array<std::int64_t, 2> stride{n.stride, n.stride}, padding{n.padding, n.padding}, one{1, 1}, none{0, 0};
  return at::convolution_backward(g.to(compute_).contiguous(at::MemoryFormat::ChannelsLast), input, layer(n),
                                  at::OptionalIntArrayRef(), stride, padding, one, /*transposed=*/false, none, 1,
                                  wanted);
}

std::array<at::Tensor, 3> Heads::of_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& all,
                                              const at::Tensor& g, const at::Tensor& share) const {
  const at::Tensor q = tokens(queries).to(compute_), k = tokens(keys).to(compute_), v = tokens(all).to(compute_),
                   up = tokens(g).to(compute_);
  const at::Tensor of_share = at::matmul(up, v.transpose(1, 2)).to(exact_);
  const at::Tensor of_scores =
      (at::_softmax_backward_data(of_share, share, -1, exact_) * score_scale(queries)).to(compute_);
  return {picture(at::matmul(of_scores, k), queries), picture(at::matmul(of_scores.transpose(1, 2), q), keys),
          picture(at::matmul(share.to(compute_).transpose(1, 2), up), all)};
}

}  // namespace igebm::engine

#include "igebm/io/ranges.h"
#include "igebm/nn/architectures.h"

namespace igebm::nn {
namespace {

using io::Fields;
using io::Range;
using namespace io::ranges;  // NOLINT(google-build-using-namespace)

const Range dropout_rate{0, 1, false, true};

}  // namespace

void describe(Fields& f, ResidualOptions& o) {
  f.field("stem", o.stem, count_from_one, "channels of the first convolution");
  f.field("stem_kernel", o.stem_kernel, Range{3, 4}, "3, or 4 with stride 2");
  f.field("blocks", o.blocks, {}, "widths of the residual blocks; d: halve the picture");
  f.field("activation", o.activation, "between layers");
  f.field("spectral_norm", o.spectral_norm, "on every layer but the last");
  f.field("attention", o.attention, "self-attention after the first stage");
  f.field("dropout", o.dropout, dropout_rate, "rate in each block, while training");
}

void describe(Fields& f, StridedOptions& o) {
  f.field("stem", o.stem, count_from_one, "channels of the first convolution");
  f.field("channels", o.channels, count_from_one, "of the strided convolutions; each halves the picture");
  f.field("dense", o.dense, count_from_one, "features of the linear layer before the last");
  f.field("activation", o.activation, "between layers");
  f.field("spectral_norm", o.spectral_norm, "on every layer but the last");
  f.field("label_planes", o.label_planes,
          "labels or conditions as planes beside the picture; false: as a bias into each strided convolution");
}

void describe(Fields& f, UNetOptions& o) {
  f.field("channels", o.channels, count_from_one, "of each level; each has half the size of the one before");
  f.field("blocks", o.blocks, count_from_one, "residual blocks of each level, on each side of the deeper ones");
  f.field("patch", o.patch, Range{1, 64}, "pixels a side that make one place of the first level; 1: none are joined");
  f.field("groups", o.groups, count_from_zero, "of group norm; 0: none");
  f.field("attention", o.attention, "self-attention at the deepest level");
  f.field("dropout", o.dropout, dropout_rate, "rate in each block, while training");
  if (o.channels.size() != o.blocks.size())
    f.problem("blocks", "expected as many numbers as channels has, one for each level");
}

void describe(Fields& f, MlpOptions& o) { f.field("widths", o.widths, count_from_one, "of the hidden layers"); }

void describe(Fields& f, ClassifierOptions& o) {
  f.field("channels", o.channels, count_from_one, "of the convolutions, each of which halves the picture");
  f.field("features", o.features, count_from_one, "that distances between pictures are measured in");
}

}  // namespace igebm::nn

#pragma once

#include <array>

#include "igebm/data/data.h"

/// dSprites (Matthey et al. 2017): one white shape on black, 64 x 64, from every combination of 3 shapes (square,
/// ellipse, heart), 6 sizes, 40 rotations, 32 x 32 positions: 737,280 pictures. Labels are the shape; conditions, for
/// models of one concept each: size in [.5, 1]; the shape, one-hot; position x and y in [0, 1]; cos and sin of the
/// rotation. One combination in ten, chosen for ever, is the test split, as none is published.
namespace igebm::data {

constexpr std::int64_t dsprites_total = 3 * 6 * 40 * 32 * 32;

struct Sprite {
  std::int64_t shape;  ///< 0: square, 1: ellipse, 2: heart
  double size, rotation, x, y;
};

/// Number `combination` in the official order: shape slowest, then size, rotation, x, y.
Sprite sprite(std::int64_t combination);

bool in_test(std::int64_t combination);

/// The sprite as bytes 0 and 255 (64 x 64), not smoothed, as published. The outlines are ours: a square of half side
/// 11 size, an ellipse of half axes 15 and 7.5 size, a heart within radius 15 size, about (16 + 31 x, 16 + 31 y).
void draw_sprite(const Sprite& sprite, std::uint8_t* out);

/// The official npz in options.path, which holds 3 GB: read as a stream, of which options.count pictures chosen at
/// random are kept (0: all that the split has).
Dataset dsprites(const Options& options, bool test, std::uint64_t seed);

/// Drawn by draw_sprite: record i is a combination that is a function of (seed, i), so needs no file.
/// options.count: 0 means 20,000.
Dataset dsprites_drawn(const Options& options, bool test, std::uint64_t seed);

}  // namespace igebm::data

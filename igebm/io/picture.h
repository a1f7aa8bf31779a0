#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "igebm/io/files.h"

/// Pictures are uint8 tensors (H, W, C), C = 1 or 3.
namespace igebm::io {

/// Whether records of this shape are drawn: grey or colour pictures by `grid`, points in the plane by `density`.
bool has_picture(const std::vector<std::int64_t>& shape);

/// Images (N, C, H, W) in [0, 1] side by side on a light ground, `columns` a row (0: near square), each pixel drawn
/// `scale` times as large.
at::Tensor grid(const at::Tensor& images, std::int64_t columns = 0, std::int64_t scale = 2);

/// Numbers (H, W) from 0 to 1 in colour, from dark blue to yellow; what is beyond is as the ends, what is not finite 0.
at::Tensor heat(const at::Tensor& values);

/// exp(-E) of energies (H, W) over the square [-bound, bound]^2 (first row: largest y) in colour, relative to its
/// greatest value, with points (N, 2) drawn over it; `levels`: with lines at some energies above the least, too.
at::Tensor density(const at::Tensor& energies, const at::Tensor& points, double bound, bool levels = false);

/// Points (N, 2) alone, over the same square, `side` pixels wide and high.
at::Tensor scatter(const at::Tensor& points, double bound, std::int64_t side);

/// Pictures of one height and number of channels, from left to right.
at::Tensor side_by_side(const std::vector<at::Tensor>& pictures);

/// PNG file format, atomically; texts become tEXt chunks.
void write_png(const std::filesystem::path& path, const at::Tensor& picture, const Texts& texts = {});
std::string encode_png(const at::Tensor& picture, const Texts& texts = {});
/// The tEXt chunks of a PNG file. Throws UserError where it is none, or is truncated.
Texts png_texts(const std::filesystem::path& path);

/// A file of picture_kinds as uint8 (H, W, channels), channels 1 or 3: grey becomes colour and colour grey, 16 bits
/// become 8, transparency is dropped. The content tells the kind, not the name. `at_least` above 0: a JPEG may come at
/// 1/2, 1/4 or 1/8 of its size, as long as its short side has so many pixels. `name` is for messages. Throws UserError
/// where it is damaged, truncated (JPEG: no end marker, with libjpeg-turbo what its scan lacks as well; PNG: any
/// chunk's checksum), of another kind, or WebP or TIFF in an igebm that was built without libwebp or libtiff.
at::Tensor decode_picture(std::string_view bytes, std::int64_t channels, const std::string& name,
                          std::int64_t at_least = 0);

/// What decode_picture reads, for messages.
inline constexpr const char* picture_kinds = "PNG, JPEG, WebP, BMP, TIFF, PGM or PPM";
/// Whether a file's name ends as one of these does, in capitals or not.
bool has_picture_name(const std::filesystem::path& path);

/// An animated GIF that repeats for ever; texts become comments, "NAME: TEXT". Throws UserError where igebm was built
/// without giflib.
void write_gif(const std::filesystem::path& path, const std::vector<at::Tensor>& frames, double frames_per_second,
               const Texts& texts = {});
/// Such comments of a GIF file. Throws UserError where it is none, or is truncated.
Texts gif_texts(const std::filesystem::path& path);

}  // namespace igebm::io

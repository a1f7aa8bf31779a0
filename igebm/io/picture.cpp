#include "igebm/io/picture.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <stb_image_write.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/io/files.h"

namespace igebm::io {

bool has_picture(const std::vector<std::int64_t>& shape) {
  return shape.size() == 3 ? shape[0] == 1 || shape[0] == 3 : shape == std::vector<std::int64_t>{2};
}

at::Tensor grid(const at::Tensor& images, std::int64_t columns, std::int64_t scale) {
  if (images.dim() != 4 || images.size(0) < 1 || (images.size(1) != 1 && images.size(1) != 3)) {
    throw UserError("grid: expected images (N, 1 or 3, H, W), N at least 1");
  }
  const std::int64_t count = images.size(0), gap = 2;
  if (columns <= 0) columns = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  columns = std::min(columns, count);
  const std::int64_t rows = (count + columns - 1) / columns;
  at::Tensor pixels = images.detach()
                          .cpu()
                          .to(at::kFloat)
                          .nan_to_num(0)
                          .clamp(0, 1)
                          .mul(255)
                          .round()
                          .to(at::kByte)
                          .permute({0, 2, 3, 1});
  pixels = pixels.repeat_interleave(scale, 1).repeat_interleave(scale, 2);
  const std::int64_t h = pixels.size(1), w = pixels.size(2);
  at::Tensor sheet = at::full({rows * (h + gap) + gap, columns * (w + gap) + gap, pixels.size(3)}, 225, at::kByte);
  for (std::int64_t i = 0; i < count; ++i) {
    sheet.narrow(0, gap + (i / columns) * (h + gap), h).narrow(1, gap + (i % columns) * (w + gap), w).copy_(pixels[i]);
  }
  return sheet;
}

namespace {

/// Dark blue to yellow over anchors that rise evenly in lightness.
constexpr std::array<std::array<float, 3>, 6> anchors = {
    {{13, 8, 58}, {62, 38, 128}, {38, 110, 142}, {42, 170, 124}, {150, 214, 72}, {252, 240, 90}}};

/// White, where they lie in the square [-bound, bound]^2.
void draw_points(const at::Tensor& points, double bound, at::Tensor& picture) {
  const std::int64_t h = picture.size(0), w = picture.size(1);
  const at::Tensor q = points.detach().cpu().to(at::kDouble).contiguous();
  const double* xy = q.const_data_ptr<double>();
  std::uint8_t* out = picture.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < q.size(0); ++i) {
    const double x = (xy[2 * i] + bound) / (2 * bound) * static_cast<double>(w - 1),
                 y = (bound - xy[2 * i + 1]) / (2 * bound) * static_cast<double>(h - 1);
    if (!(x >= 0 && y >= 0 && x <= static_cast<double>(w - 1) && y <= static_cast<double>(h - 1))) continue;
    for (std::int64_t c = 0; c < 3; ++c) out[(std::lround(y) * w + std::lround(x)) * 3 + c] = 255;
  }
}

/// Half transparent lines where energies (H, W) pass a level.
void draw_levels(const at::Tensor& energies, at::Tensor& picture) {
  const std::int64_t h = energies.size(0), w = energies.size(1);
  const at::Tensor above = at::zeros({h, w}, at::kByte);
  for (const double level : {1.0, 3.0, 5.0, 7.0, 9.0, 13.0, 17.0}) above.add_(energies.gt(level));
  const auto* k = above.const_data_ptr<std::uint8_t>();
  auto* out = picture.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i + 1 < h; ++i) {
    for (std::int64_t j = 0; j + 1 < w; ++j) {
      const std::int64_t at = i * w + j;
      if (k[at] == k[at + 1] && k[at] == k[at + w]) continue;
      for (std::int64_t c = 3 * at; c < 3 * at + 3; ++c)
        out[c] = static_cast<std::uint8_t>((65 * out[c] + 35 * 255) / 100);
    }
  }
}

}  // namespace

at::Tensor scatter(const at::Tensor& points, double bound, std::int64_t side) {
  at::Tensor picture = at::empty({side, side, 3}, at::kByte);
  for (std::int64_t c = 0; c < 3; ++c) picture.select(2, c).fill_(anchors[0][static_cast<std::size_t>(c)]);
  draw_points(points, bound, picture);
  return picture;
}

at::Tensor side_by_side(const std::vector<at::Tensor>& pictures) {
  constexpr std::int64_t gap = 4;
  std::vector<at::Tensor> row;
  for (const at::Tensor& picture : pictures) {
    if (!row.empty()) row.push_back(at::full({picture.size(0), gap, picture.size(2)}, 225, at::kByte));
    row.push_back(picture);
  }
  return at::cat(row, 1);
}

at::Tensor heat(const at::Tensor& values) {
  const std::int64_t h = values.size(0), w = values.size(1);
  const at::Tensor v = values.detach().cpu().to(at::kFloat).contiguous();
  at::Tensor picture = at::empty({h, w, 3}, at::kByte);
  const float* value = v.const_data_ptr<float>();
  std::uint8_t* out = picture.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < h * w; ++i) {
    const float at = std::clamp(std::isfinite(value[i]) ? value[i] : 0.0F, 0.0F, 1.0F) * (anchors.size() - 1);
    const auto low = std::min(static_cast<std::size_t>(at), anchors.size() - 2);
    const float t = at - static_cast<float>(low);
    for (std::size_t c = 0; c < 3; ++c)
      out[i * 3 + static_cast<std::int64_t>(c)] =
          static_cast<std::uint8_t>((1 - t) * anchors[low][c] + t * anchors[low + 1][c]);
  }
  return picture;
}

at::Tensor density(const at::Tensor& energies, const at::Tensor& points, double bound, bool levels) {
  const at::Tensor e = energies.detach().cpu().to(at::kFloat);
  at::Tensor picture = heat((e.min() - e).exp());
  if (levels) draw_levels(e - e.min(), picture);
  if (points.defined()) draw_points(points, bound, picture);
  return picture;
}

namespace {

const std::string png_signature("\x89PNG\r\n\x1a\n", 8);
constexpr std::size_t header_end = 8 + 25;  // of the signature and IHDR, which comes first

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

std::uint32_t big_endian_at(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::string text_chunk(const std::string& name, const std::string& text) {
  const std::string body = "tEXt" + name + std::string(1, '\0') + text;
  const auto sum = crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size());
  return big_endian(static_cast<std::uint32_t>(body.size() - 4)) + body + big_endian(static_cast<std::uint32_t>(sum));
}

}  // namespace

std::string encode_png(const at::Tensor& picture, const Texts& texts) {
  if (picture.dim() != 3 || picture.scalar_type() != at::kByte || (picture.size(2) != 1 && picture.size(2) != 3)) {
    throw UserError("PNG: expected a uint8 picture (H, W, 1 or 3)");
  }
  const at::Tensor p = picture.contiguous();
  std::string bytes;
  const auto append = [](void* to, void* data, int size) {
    static_cast<std::string*>(to)->append(static_cast<char*>(data), static_cast<std::size_t>(size));
  };
  const int h = static_cast<int>(p.size(0)), w = static_cast<int>(p.size(1)), c = static_cast<int>(p.size(2));
  if (stbi_write_png_to_func(append, &bytes, w, h, c, p.const_data_ptr(), w * c) == 0)
    throw UserError("PNG: the picture could not be encoded");
  std::string chunks;
  for (const auto& [name, text] : texts) chunks += text_chunk(name, text);
  return bytes.insert(header_end, chunks);
}

void write_png(const std::filesystem::path& path, const at::Tensor& picture, const Texts& texts) {
  write_atomically(path, encode_png(picture, texts));
}

Texts png_texts(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  if (!bytes.starts_with(png_signature)) throw UserError(fmt::format("{}: no PNG file", path.string()));
  Texts texts;
  for (std::size_t at = png_signature.size(); at < bytes.size();) {
    const std::size_t length = bytes.size() - at < 12 ? bytes.size() : big_endian_at(bytes, at);
    if (length > bytes.size() - at - 12) throw UserError(fmt::format("{}: truncated", path.string()));
    const std::string body = bytes.substr(at + 8, length);
    const auto end = body.find('\0');
    if (bytes.compare(at + 4, 4, "tEXt") == 0 && end != std::string::npos)
      texts[body.substr(0, end)] = body.substr(end + 1);
    at += 12 + length;
  }
  return texts;
}

Texts gif_texts(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  if (!bytes.starts_with("GIF8")) throw UserError(fmt::format("{}: no GIF file", path.string()));
  std::size_t at = 0;
  const auto take = [&](std::size_t count) {
    if (count > bytes.size() - at) throw UserError(fmt::format("{}: truncated", path.string()));
    const std::string_view taken = std::string_view(bytes).substr(at, count);
    at += count;
    return taken;
  };
  const auto byte = [&] { return static_cast<unsigned char>(take(1)[0]); };
  const auto colors = [](unsigned char flags) { return (flags & 0x80) != 0 ? std::size_t{6} << (flags & 7) : 0; };
  take(10);
  const std::size_t table = colors(byte());
  take(2 + table);
  Texts texts;
  while (true) {
    const unsigned char kind = byte();
    if (kind == ';') return texts;
    if (kind != '!' && kind != ',') throw UserError(fmt::format("{}: damaged at byte {}", path.string(), at - 1));
    bool comment = false;
    if (kind == '!') {
      comment = byte() == 0xFE;
    } else {
      take(8);
      const std::size_t own = colors(byte());
      take(own + 1);
    }
    std::string body;
    for (std::size_t size = byte(); size > 0; size = byte()) body += take(size);
    const auto colon = body.find(": ");
    if (comment && colon != std::string::npos) texts[body.substr(0, colon)] = body.substr(colon + 2);
  }
}

}  // namespace igebm::io

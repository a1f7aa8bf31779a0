#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "igebm/io/files.h"
#include "igebm/io/zip.h"

namespace igebm::io {

/// NumPy's npz: a zip of .npy members. Types: float64, float32, float16, int64, int32, int16, int8, uint8, bool.
/// Written atomically, members stored uncompressed; each must be below 4 GiB. Texts become arrays without dimensions,
/// of NumPy's type str: str(file["name"]).
void write_npz(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& arrays,
               const Texts& texts = {});

/// The bytes of such a file.
std::string encode_npz(const std::map<std::string, at::Tensor>& arrays, const Texts& texts = {});

/// Such texts alone. Throws UserError where the file is no npz, truncated or damaged.
Texts npz_texts(const std::filesystem::path& path);

/// All arrays but texts, of any size and either order. Throws UserError naming file, member and offset where it is
/// truncated, damaged or of another kind.
std::map<std::string, at::Tensor> read_npz(const std::filesystem::path& path);

/// An npz of which only some arrays, or some rows of them, are read; those not asked for may be of any type. A .npy
/// file, by its content, is one with a single array, "arr_0". Throws as read_npz does.
class NpzFile {
 public:
  class Array {
   public:
    at::ScalarType type() const { return type_; }
    const std::vector<std::int64_t>& shape() const { return shape_; }
    at::Tensor read();                             ///< all of it, in C order
    void read_rows(std::int64_t count, void* to);  ///< the next `count` of the first dimension
    void skip_rows(std::int64_t count);

   private:
    friend class NpzFile;
    Array(ZipMember member, std::string where);
    std::uint64_t row_bytes(std::int64_t count) const;
    ZipMember member_;
    std::string where_;
    at::ScalarType type_ = at::kByte;
    std::vector<std::int64_t> shape_;
    bool fortran_ = false;
  };

  explicit NpzFile(const std::filesystem::path& path);
  std::vector<std::string> names() const;
  bool has(const std::string& name) const;
  bool is_text(const std::string& name) const;  ///< one that write_npz calls a text
  Array open(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::optional<ZipFile> zip_;  ///< none of a .npy file
};

}  // namespace igebm::io

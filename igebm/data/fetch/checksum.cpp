#include <fmt/format.h>
#include <openssl/evp.h>

#include <fstream>
#include <memory>

#include "igebm/base/error.h"
#include "igebm/data/fetch/parts.h"

namespace igebm::data {

std::string checksum(const std::filesystem::path& path, std::size_t digits) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::ifstream in(path, std::ios::binary);
  if (!in || EVP_DigestInit_ex(context.get(), digits == 64 ? EVP_sha256() : EVP_md5(), nullptr) != 1)
    throw UserError(fmt::format("{}: its checksum cannot be computed", path.string()));
  std::vector<char> buffer(1 << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(in.gcount()));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace igebm::data

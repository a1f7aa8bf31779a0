// fmt's own code, compiled here once: as headers alone (FMT_HEADER_ONLY) it would be compiled anew in every file, a
// third of the whole build. It is the fmt of whichever headers come first, LibTorch's or the system's, so no library
// has to fit.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {
template FMT_API auto thousands_sep_impl<char>(locale_ref) -> thousands_sep_result<char>;
template FMT_API auto decimal_point_impl<char>(locale_ref) -> char;
}  // namespace detail
FMT_END_NAMESPACE

# The third-party parts beside LibTorch, all from the system's packages or from any prefix in CMAKE_PREFIX_PATH:
# CLI11, toml++, nlohmann-json, stb, fmt (headers alone; fmt's code is in igebm/base/format.cpp), zlib; optional: dygraphs, cpp-httplib, giflib,
# libjpeg-turbo's TurboJPEG, libwebp, libtiff from 4.5, and libcurl with OpenSSL and libarchive (downloads).
find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
find_path(TOMLPP_INCLUDE_DIR toml++/toml.h REQUIRED)
find_path(NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp REQUIRED)
find_path(STB_INCLUDE_DIR stb_image_write.h PATH_SUFFIXES stb REQUIRED)
find_path(FMT_INCLUDE_DIR fmt/format.h REQUIRED)
find_package(ZLIB REQUIRED)
find_package(GIF QUIET)
find_path(TURBOJPEG_INCLUDE_DIR turbojpeg.h)  # its CMake package asks for parts that are not ours
find_library(TURBOJPEG_LIBRARY turbojpeg)
find_path(WEBP_INCLUDE_DIR webp/decode.h)
find_library(WEBP_LIBRARY webp)
find_package(TIFF 4.5 QUIET)
find_package(CURL QUIET)
find_package(OpenSSL QUIET COMPONENTS Crypto)
find_package(LibArchive QUIET)
find_path(HTTPLIB_INCLUDE_DIR httplib.h)
find_library(HTTPLIB_LIBRARY cpp-httplib)  # Debian's is a library; the header alone leaves out the code
find_package(Threads QUIET)

foreach(part CLI11 TOMLPP NLOHMANN_JSON STB FMT TURBOJPEG WEBP HTTPLIB)
  if(${part}_INCLUDE_DIR AND NOT TARGET Igebm3rdParty::${part})
    add_library(Igebm3rdParty::${part} INTERFACE IMPORTED)
    target_include_directories(Igebm3rdParty::${part} SYSTEM INTERFACE ${${part}_INCLUDE_DIR})
  endif()
endforeach()

# Plots of reports: two files that go into the program. Empty where they are not found.
find_file(DYGRAPHS_SCRIPT javascript/dygraphs/dygraph.min.js PATHS /usr/share /usr/local/share)
find_file(DYGRAPHS_STYLE javascript/dygraphs/dygraph.min.css PATHS /usr/share /usr/local/share)
foreach(part SCRIPT STYLE)
  if(NOT DYGRAPHS_${part})
    set(DYGRAPHS_${part} "")
  endif()
endforeach()

set(IGEBM_IO_LIBRARIES $<BUILD_INTERFACE:Igebm3rdParty::TOMLPP> $<BUILD_INTERFACE:Igebm3rdParty::NLOHMANN_JSON>
  $<BUILD_INTERFACE:Igebm3rdParty::STB> $<BUILD_INTERFACE:Igebm3rdParty::FMT> ZLIB::ZLIB)
set(IGEBM_DATA_LIBRARIES ZLIB::ZLIB)
set(IGEBM_IO_WITHOUT "")
set(IGEBM_DATA_WITHOUT "")
set(IGEBM_SERVE_WITHOUT "")
set(IGEBM_SERVE_LIBRARIES "")
# A room's optional part: with its libraries the sources in `folder`, without them those in no_`folder`. THERE: what
# must be found.
macro(igebm_optional room folder)
  cmake_parse_arguments(PART "" "" "THERE;LINKS" ${ARGN})
  set(PART_FOUND TRUE)
  foreach(variable ${PART_THERE})
    if(NOT ${variable})
      set(PART_FOUND FALSE)
    endif()
  endforeach()
  if(PART_FOUND)
    list(APPEND IGEBM_${room}_LIBRARIES ${PART_LINKS})
    list(APPEND IGEBM_${room}_WITHOUT no_${folder})
  else()
    list(APPEND IGEBM_${room}_WITHOUT ${folder})
  endif()
endmacro()
igebm_optional(DATA fetch THERE CURL_FOUND OPENSSL_FOUND LibArchive_FOUND
  LINKS CURL::libcurl OpenSSL::Crypto LibArchive::LibArchive)
igebm_optional(SERVE http THERE HTTPLIB_INCLUDE_DIR HTTPLIB_LIBRARY Threads_FOUND
  LINKS $<BUILD_INTERFACE:Igebm3rdParty::HTTPLIB> ${HTTPLIB_LIBRARY} Threads::Threads)
igebm_optional(IO gif THERE GIF_FOUND LINKS GIF::GIF)
igebm_optional(IO turbojpeg THERE TURBOJPEG_INCLUDE_DIR TURBOJPEG_LIBRARY
  LINKS $<BUILD_INTERFACE:Igebm3rdParty::TURBOJPEG> ${TURBOJPEG_LIBRARY})
igebm_optional(IO webp THERE WEBP_INCLUDE_DIR WEBP_LIBRARY LINKS $<BUILD_INTERFACE:Igebm3rdParty::WEBP> ${WEBP_LIBRARY})
igebm_optional(IO tiff THERE TIFF_FOUND LINKS TIFF::TIFF)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Igebm3rdParty REQUIRED_VARS CLI11_INCLUDE_DIR TOMLPP_INCLUDE_DIR NLOHMANN_JSON_INCLUDE_DIR STB_INCLUDE_DIR FMT_INCLUDE_DIR)

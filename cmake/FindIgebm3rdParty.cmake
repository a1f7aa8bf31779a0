# The third-party parts beside LibTorch, all from the system's packages or from any prefix in CMAKE_PREFIX_PATH:
# CLI11, toml++, nlohmann-json, stb (headers alone), fmt, zlib, giflib and oneDNN 2 (both optional).
find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
find_path(TOMLPP_INCLUDE_DIR toml++/toml.h REQUIRED)
find_path(NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp REQUIRED)
find_path(STB_INCLUDE_DIR stb_image_write.h PATH_SUFFIXES stb REQUIRED)
find_path(FMT_INCLUDE_DIR fmt/format.h REQUIRED)
find_package(ZLIB REQUIRED)
find_package(GIF QUIET)

foreach(part CLI11 TOMLPP NLOHMANN_JSON STB FMT)
  if(NOT TARGET Igebm3rdParty::${part})
    add_library(Igebm3rdParty::${part} INTERFACE IMPORTED)
    target_include_directories(Igebm3rdParty::${part} SYSTEM INTERFACE ${${part}_INCLUDE_DIR})
  endif()
endforeach()
set_property(TARGET Igebm3rdParty::FMT PROPERTY INTERFACE_COMPILE_DEFINITIONS FMT_HEADER_ONLY=1)

set(IGEBM_IO_LIBRARIES $<BUILD_INTERFACE:Igebm3rdParty::TOMLPP> $<BUILD_INTERFACE:Igebm3rdParty::NLOHMANN_JSON>
  $<BUILD_INTERFACE:Igebm3rdParty::STB> $<BUILD_INTERFACE:Igebm3rdParty::FMT> ZLIB::ZLIB)
set(IGEBM_DATA_LIBRARIES ZLIB::ZLIB)
if(GIF_FOUND)
  list(APPEND IGEBM_IO_LIBRARIES GIF::GIF)
  set(IGEBM_IO_WITHOUT no_gif)
else()
  set(IGEBM_IO_WITHOUT gif)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Igebm3rdParty REQUIRED_VARS CLI11_INCLUDE_DIR TOMLPP_INCLUDE_DIR NLOHMANN_JSON_INCLUDE_DIR STB_INCLUDE_DIR FMT_INCLUDE_DIR)

# One static library per room (folder) under igebm/. All sources of a room are taken; headers stand beside them.
add_library(igebm_options INTERFACE)
target_link_libraries(igebm_options INTERFACE Igebm3rdParty::FMT Igebm3rdParty::NLOHMANN_JSON)
# gcc 12 warns of overflows in std::string's own concatenation (gcc bug 105651): those two warnings are off.
# Options are aggregates of which callers name a few fields: no warning for the rest.
target_compile_options(igebm_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror;-Wshadow;\
-Wnon-virtual-dtor;-Wno-restrict;-Wno-stringop-overflow;-Wno-missing-field-initializers;-fopenmp>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers>")
# Loops compiled for several levels of x86-64, of which the best is taken when the program runs; OFF, or another processor: for the
# compiler's own target alone, as CMAKE_CXX_FLAGS set it (-march=x86-64, -march=native).
option(IGEBM_LEVELS "Choose among levels of x86-64 at run time" ON)
set(igebm_levels FALSE)
if(IGEBM_LEVELS AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(igebm_levels TRUE)
  target_compile_definitions(igebm_options INTERFACE IGEBM_X86_LEVELS)
endif()
if(IGEBM_SANITIZE)
  target_compile_options(igebm_options INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${IGEBM_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=undefined>")
  target_link_options(igebm_options INTERFACE -fsanitize=${IGEBM_SANITIZE})
endif()

# The sources of a room are compiled as one file: headers and templates that they share then cost once, which makes a clean build
# several times as fast. Whoever changes one file at a time turns it off (CONTRIBUTING.md). Names in anonymous namespaces must
# therefore differ within a room.
option(IGEBM_TOGETHER "Compile the sources of a room as one" ON)
set(CMAKE_UNITY_BUILD ${IGEBM_TOGETHER})
set(CMAKE_UNITY_BUILD_BATCH_SIZE 100)

# The headers of torch cost ten seconds a file: they are compiled once and reused by every room that has them.
function(igebm_use_torch_pch target)
  if(NOT TARGET igebm_torch_pch)
    file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cpp "")
    add_library(igebm_torch_pch STATIC ${PROJECT_BINARY_DIR}/torch_pch.cpp)
    target_link_libraries(igebm_torch_pch PRIVATE LibTorch::LibTorch igebm_options)
    target_precompile_headers(igebm_torch_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h> <torch/csrc/autograd/autograd.h>
      <map> <memory> <string> <vector> <optional> <functional>)
  endif()
  target_precompile_headers(${target} REUSE_FROM igebm_torch_pch)
  # Programs too, or the compiled headers would not fit them.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIC> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fPIC>)
endfunction()

add_library(igebm INTERFACE)
add_library(igebm::igebm ALIAS igebm)
set(IGEBM_ROOMS "" CACHE INTERNAL "")

function(igebm_room room)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINKS;WITHOUT" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/igebm/${room}/*.cpp ${PROJECT_SOURCE_DIR}/igebm/${room}/*.cu)
  foreach(folder ${ARG_WITHOUT} ${IGEBM_CUDA_WITHOUT})  # of two sibling folders, the one for what this machine lacks or has
    list(FILTER sources EXCLUDE REGEX "/igebm/${room}/(.*/)?${folder}/[^/]*$")
  endforeach()
  # gcc 12 warns of its own AVX-512 intrinsics (gcc bug 105593): those warnings are off for them.
  # *_v2.cpp, *_v3.cpp and *_v4.cpp are compiled for that level of x86-64; which of them runs is decided at run time.
  # *_plain.cpp is for builds without levels.
  foreach(level v2 v3 v4)
    set(leveled ${sources})
    list(FILTER leveled INCLUDE REGEX "_${level}\\.cpp$")
    set_source_files_properties(${leveled} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    if(igebm_levels)
      set_source_files_properties(${leveled} PROPERTIES COMPILE_OPTIONS "-march=x86-64-${level};-Wno-psabi;-Wno-maybe-uninitialized;-Wno-uninitialized")
      foreach(source ${leveled})
        # Checks of memory alone, and as calls: all of them, and inlined, take three times as long to compile.
        if(IGEBM_SANITIZE AND source MATCHES "/kernels_")
          set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS
            -fno-sanitize=undefined --param=asan-instrumentation-with-call-threshold=0)
        endif()
        if(source MATCHES "_(bf16|amx)_v4\\.cpp$")
          set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -mavx512bf16)
        endif()
        if(source MATCHES "_amx_v4\\.cpp$")
          set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -mamx-tile -mamx-bf16)
        endif()
      endforeach()
    endif()
  endforeach()
  if(igebm_levels)
    list(FILTER sources EXCLUDE REGEX "_plain\\.cpp$")
  else()
    list(FILTER sources EXCLUDE REGEX "_v[234]\\.cpp$")
    set(plain ${sources})
    list(FILTER plain INCLUDE REGEX "_plain\\.cpp$")
    set_source_files_properties(${plain} PROPERTIES SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON
      COMPILE_OPTIONS "-Wno-psabi;-Wno-maybe-uninitialized;-Wno-uninitialized")
  endif()
  add_library(igebm_${room} STATIC ${sources})
  set_target_properties(igebm_${room} PROPERTIES EXPORT_NAME ${room})
  add_library(igebm::${room} ALIAS igebm_${room})
  target_include_directories(igebm_${room} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include>)
  target_compile_features(igebm_${room} PUBLIC cxx_std_20)
  target_link_libraries(igebm_${room} PUBLIC LibTorch::LibTorch PRIVATE $<BUILD_INTERFACE:igebm_options> ${ARG_LINKS})
  target_link_options(igebm_${room} PUBLIC -fopenmp)
  foreach(dep ${ARG_DEPENDS})
    target_link_libraries(igebm_${room} PUBLIC igebm_${dep})
  endforeach()
  igebm_use_torch_pch(igebm_${room})
  target_link_libraries(igebm INTERFACE igebm_${room})
  set(IGEBM_ROOMS ${IGEBM_ROOMS} igebm_${room} CACHE INTERNAL "")
endfunction()

# LibTorch from a torch wheel: target LibTorch::LibTorch.
#
# torch's own package file asks a CUDA wheel for a whole toolkit and overrides CMAKE_CUDA_ARCHITECTURES;
# headers and libraries are all that is needed. Looked for in LIBTORCH_ROOT, then in .venv of the source
# tree, then wherever the python3 on the path imports torch from.
set(LIBTORCH_ROOT "" CACHE PATH "The torch folder of a torch wheel, or an unpacked LibTorch")
set(_torch_hints ${LIBTORCH_ROOT})
file(GLOB _torch_venv ${CMAKE_CURRENT_LIST_DIR}/../.venv/lib/python3*/site-packages/torch)
list(APPEND _torch_hints ${_torch_venv})
if(NOT _torch_hints)
  execute_process(COMMAND python3 -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE _torch_python OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  list(APPEND _torch_hints ${_torch_python})
endif()
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h HINTS ${_torch_hints} PATH_SUFFIXES include NO_DEFAULT_PATH)
foreach(_lib torch torch_cpu c10)
  find_library(LibTorch_${_lib}_LIBRARY ${_lib} HINTS ${_torch_hints} PATH_SUFFIXES lib NO_DEFAULT_PATH)
endforeach()
foreach(_lib torch_cuda c10_cuda)
  find_library(LibTorch_${_lib}_LIBRARY ${_lib} HINTS ${_torch_hints} PATH_SUFFIXES lib NO_DEFAULT_PATH)
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY LibTorch_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, or give -DLIBTORCH_ROOT=<site-packages>/torch")
if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
    ${LibTorch_INCLUDE_DIR} ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
  # --no-as-needed: torch registers its operators from constructors of libraries that nothing refers to.
  target_link_libraries(LibTorch::LibTorch INTERFACE
    -Wl,--no-as-needed ${LibTorch_torch_LIBRARY} ${LibTorch_torch_cpu_LIBRARY} ${LibTorch_c10_LIBRARY} -Wl,--as-needed)
  if(LibTorch_torch_cuda_LIBRARY)
    target_link_libraries(LibTorch::LibTorch INTERFACE
      -Wl,--no-as-needed ${LibTorch_torch_cuda_LIBRARY} ${LibTorch_c10_cuda_LIBRARY} -Wl,--as-needed)
  endif()
endif()

# LibTorch from a torch wheel: target LibTorch::LibTorch. LibTorch_HAS_CUDA: a CUDA wheel, with the CUDA runtime's library
# and headers at hand, from the nvidia wheels beside it or from a toolkit.
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
set(LibTorch_HAS_CUDA FALSE)
if(LibTorch_torch_cuda_LIBRARY AND LibTorch_c10_cuda_LIBRARY)
  get_filename_component(_torch_lib ${LibTorch_torch_cuda_LIBRARY} DIRECTORY)
  file(GLOB _nvidia ${_torch_lib}/../../nvidia/cu1? ${_torch_lib}/../../nvidia/cuda_runtime)
  file(GLOB _toolkits /usr/local/cuda /usr/local/cuda-1?.*)
  set(_cuda_hints ${_nvidia} ${CUDAToolkit_ROOT} $ENV{CUDA_HOME} ${_toolkits})
  find_library(LibTorch_cudart_LIBRARY NAMES cudart libcudart.so.13 libcudart.so.12 HINTS ${_cuda_hints} PATH_SUFFIXES lib lib64)
  # Some wheels have cuda_runtime_api.h without what it includes.
  find_path(LibTorch_CUDA_INCLUDE_DIR crt/host_defines.h HINTS ${_cuda_hints} PATH_SUFFIXES include)
  if(LibTorch_cudart_LIBRARY AND LibTorch_CUDA_INCLUDE_DIR)
    set(LibTorch_HAS_CUDA TRUE)
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY LibTorch_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, or give -DLIBTORCH_ROOT=<site-packages>/torch")
if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
    ${LibTorch_INCLUDE_DIR} ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
  # --no-as-needed: torch registers its operators from constructors of libraries that nothing refers to. One pair around
  # all: CMake drops a flag that comes again.
  # libstdc++ goes first: CUDA wheels export a std::filesystem of their own, whose remove_all jumps to nowhere.
  # --allow-shlib-undefined: what torch's libraries need themselves (cuDNN, cuBLAS, on Arm OpenBLAS and gfortran, ...) the loader
  # finds by torch's own paths.
  set(_torch_libraries -Wl,--allow-shlib-undefined ${LibTorch_torch_LIBRARY} ${LibTorch_torch_cpu_LIBRARY} ${LibTorch_c10_LIBRARY})
  if(LibTorch_torch_cuda_LIBRARY)
    list(PREPEND _torch_libraries ${LibTorch_torch_cuda_LIBRARY} ${LibTorch_c10_cuda_LIBRARY})
  endif()
  target_link_libraries(LibTorch::LibTorch INTERFACE -Wl,--no-as-needed stdc++ ${_torch_libraries} -Wl,--as-needed)
  if(LibTorch_HAS_CUDA)
    target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE ${LibTorch_CUDA_INCLUDE_DIR})
    target_link_libraries(LibTorch::LibTorch INTERFACE ${LibTorch_cudart_LIBRARY})
  endif()
endif()

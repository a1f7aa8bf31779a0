# Toolchain for 64-bit Arm with Debian's cross compiler; programs run under qemu-user. scripts/check-arm uses it, and brings the parts
# of CMAKE_FIND_ROOT_PATH:
#   cmake -S . -B build/arm -G Ninja --toolchain cmake/aarch64.cmake -DCMAKE_FIND_ROOT_PATH=<parts> -DLIBTORCH_ROOT=<parts>/torch
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu)
# This machine's libraries are for another processor; headers alone are for any.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)

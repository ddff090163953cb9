# The CUDA back end's compiler and libraries. Included when GLIMPSE_CUDA is on.
#
# GLIMPSE_CUDA_ARCHS: what to compile for, as in compute_XX / sm_XX; 90a has Hopper's wgmma and TMA.
set(GLIMPSE_CUDA_ARCHS "90a" CACHE STRING "CUDA architectures, a list of 80, 89, 90a")
option(GLIMPSE_CUDA_RACECHECK "Slow kernels that compute-sanitizer's racecheck can instrument (gpu_sanitize.sh)" OFF)
set(GLIMPSE_CUBLAS_DIR "" CACHE PATH "Folder with include/cublasLt.h and lib/libcublasLt.so, if the toolkit lacks them")

find_program(GLIMPSE_NVCC nvcc HINTS /usr/local/cuda/bin $ENV{CUDA_HOME}/bin)
if(NOT GLIMPSE_NVCC)
  message(FATAL_ERROR "GLIMPSE_CUDA is on, and there is no nvcc; put it on the PATH or set CUDA_HOME")
endif()
set(CMAKE_CUDA_COMPILER ${GLIMPSE_NVCC})
set(CMAKE_CUDA_ARCHITECTURES OFF)  # given by hand: 90a needs its own -gencode
set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
set(gencode "")
foreach(arch ${GLIMPSE_CUDA_ARCHS})
  string(APPEND gencode " -gencode=arch=compute_${arch},code=sm_${arch}")
endforeach()
set(CMAKE_CUDA_FLAGS "${gencode} --expt-relaxed-constexpr -lineinfo")
# CMake 3.25 does not know that this nvcc does.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA_STANDARD_COMPUTED_DEFAULT "17" CACHE INTERNAL "")
enable_language(CUDA)
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")

# The toolkit's own cuBLASLt first; then GLIMPSE_CUBLAS_DIR, and what scripts/cuda_deps.sh fetched.
get_filename_component(cuda_root ${GLIMPSE_NVCC} DIRECTORY)
get_filename_component(cuda_root ${cuda_root}/.. REALPATH)
set(cublas_hints ${cuda_root} ${GLIMPSE_CUBLAS_DIR} ${CMAKE_SOURCE_DIR}/.cache/cuda/nvidia/cu13)
find_path(CUBLASLT_INCLUDE cublasLt.h HINTS ${cublas_hints} PATH_SUFFIXES include NO_DEFAULT_PATH)
find_library(CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 HINTS ${cublas_hints} PATH_SUFFIXES lib lib64
             NO_DEFAULT_PATH)
if(NOT CUBLASLT_INCLUDE OR NOT CUBLASLT_LIBRARY)
  message(FATAL_ERROR "no cuBLASLt in ${cublas_hints}; run scripts/cuda_deps.sh or set GLIMPSE_CUBLAS_DIR")
endif()

add_library(glimpse_cuda_flags INTERFACE)
target_include_directories(glimpse_cuda_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${cuda_root}/include)
target_compile_definitions(glimpse_cuda_flags INTERFACE $<$<BOOL:${GLIMPSE_CUDA_RACECHECK}>:GLIMPSE_CUDA_RACECHECK>)
target_include_directories(glimpse_cuda_flags SYSTEM INTERFACE ${CUBLASLT_INCLUDE})

# glimpse_cuda_bench(NAME SOURCES...): a program that checks and times kernels on a device; not run by ctest.
function(glimpse_cuda_bench name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE glimpse_cuda_kernels)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  set_target_properties(${name} PROPERTIES CUDA_RUNTIME_LIBRARY Static)
endfunction()

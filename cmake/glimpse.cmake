# The build's vocabulary: one library per folder of src/, one test program per folder of tests/.

set(Boost_USE_STATIC_LIBS ON)  # one file is the product; and it starts faster
find_package(Boost 1.81 EXACT REQUIRED COMPONENTS json)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)

add_library(glimpse_flags INTERFACE)
target_include_directories(glimpse_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(glimpse_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                       -Wno-missing-field-initializers -Werror)
# clang objects to what g++ 12's own std::stable_sort calls.
target_compile_options(glimpse_flags INTERFACE $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>)
if(GLIMPSE_SANITIZE)
  target_compile_options(glimpse_flags INTERFACE -fsanitize=${GLIMPSE_SANITIZE} -fno-omit-frame-pointer
                                                 -fno-sanitize-recover=all)
  target_link_options(glimpse_flags INTERFACE -fsanitize=${GLIMPSE_SANITIZE})
endif()
if(GLIMPSE_FUZZ)
  # The libraries as well: the fuzzer follows what it can see being reached.
  target_compile_options(glimpse_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# glimpse_library(NAME SOURCES... LINKS...): the library of folder src/NAME. LINKS lists the folders it may include
# (glimpse_x) and its packages; nothing else is linked, so an arrow that is not in the list does not link.
function(glimpse_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(glimpse_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(glimpse_${name} PUBLIC ${ARG_LINKS} PRIVATE glimpse_flags)
  target_include_directories(glimpse_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
endfunction()

# glimpse_test(NAME SOURCES... LINKS...): a GoogleTest program; ctest sees each of its cases.
function(glimpse_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} GTest::gtest GTest::gtest_main glimpse_flags)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE GLIMPSE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 1200)
endfunction()

# glimpse_bench(NAME SOURCES... LINKS...): a Google Benchmark program.
function(glimpse_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} benchmark::benchmark glimpse_flags)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE GLIMPSE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endfunction()

# glimpse_fuzzer(NAME SOURCES... LINKS...): a libFuzzer program, only with -DGLIMPSE_FUZZ=ON and clang.
function(glimpse_fuzzer name)
  if(NOT GLIMPSE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} glimpse_flags)
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endfunction()

# Models as C libraries: find_package(dcformat), with -Ddcformat_DIR=$(dcconvert --cmake-dir), or
# add_subdirectory on this folder.
#
#   dcf_add_model(target MODEL model.onnx
#                 [RECIPE r.toml] [PREFIX p] [FORM compressed|dense|blob] [ACTIVATIONS scales.json]
#                 [SELFTEST] [OPTIONS more options of dcconvert ...])
#
# makes a static library: its header is included by the target's name, "target.h". It links
# dcformat::decoder (but for FORM dense), the library of dcformat/c, which is compiled like every
# library of the project. FORM blob needs the language ASM.
#
# The model is converted again when the model, files it refers to, the recipe, the scales, the
# options or dcformat itself have changed; what comes out the same is not compiled again.
# DCFORMAT_DCCONVERT is the program that converts.
cmake_policy(PUSH)
cmake_policy(VERSION 3.20)

find_program(DCFORMAT_DCCONVERT dcconvert
    HINTS "${CMAKE_CURRENT_LIST_DIR}/../../../../../bin" "${CMAKE_CURRENT_LIST_DIR}/../../../../Scripts"
    DOC "The program dcconvert of the Python package dcformat")
if(NOT DCFORMAT_DCCONVERT)
    message(FATAL_ERROR "dcconvert is not on the PATH: set DCFORMAT_DCCONVERT")
endif()

# In an installed package the decoder is beside this folder, in the project itself below dcformat.
set(_dcf_c "${CMAKE_CURRENT_LIST_DIR}/../c")
if(NOT EXISTS "${_dcf_c}/dcf.h")
    set(_dcf_c "${CMAKE_CURRENT_LIST_DIR}/../dcformat/c")
endif()
if(NOT TARGET dcformat_decoder)
    file(GLOB _dcf_sources "${_dcf_c}/*.c")
    add_library(dcformat_decoder STATIC EXCLUDE_FROM_ALL ${_dcf_sources})
    target_include_directories(dcformat_decoder SYSTEM PUBLIC "${_dcf_c}")
    set_target_properties(dcformat_decoder PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON)
    add_library(dcformat::decoder ALIAS dcformat_decoder)
endif()
unset(_dcf_c)
unset(_dcf_sources)

function(dcf_add_model target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "SELFTEST" "MODEL;RECIPE;PREFIX;FORM;ACTIVATIONS" "OPTIONS")
    if(NOT arg_MODEL)
        message(FATAL_ERROR "dcf_add_model(${target}): no MODEL")
    endif()
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "dcf_add_model(${target}): unknown: ${arg_UNPARSED_ARGUMENTS}")
    endif()
    set(folder "${CMAKE_CURRENT_BINARY_DIR}/dcf/${target}")
    set(stem "${folder}/${target}")
    set(command "")
    set(needed "")
    foreach(one MODEL RECIPE ACTIVATIONS)
        if(arg_${one})
            get_filename_component(path "${arg_${one}}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
            if(path MATCHES "[$#]")  # it writes neither of them for Ninja as Ninja reads it
                message(FATAL_ERROR "dcf_add_model(${target}): CMake cannot watch \"${path}\"")
            endif()
            list(APPEND needed "${path}")
            if(NOT one STREQUAL "MODEL")
                string(TOLOWER "--${one}" option)
                list(APPEND command "${option}")
            endif()
            list(APPEND command "${path}")
        endif()
    endforeach()
    if(arg_PREFIX)
        list(APPEND command --prefix "${arg_PREFIX}")
    endif()
    set(made "${stem}.c" "${stem}.h")
    set(sources "${stem}.c")
    if(arg_FORM)
        list(APPEND command --c-form "${arg_FORM}")
    endif()
    if(arg_FORM STREQUAL "blob")
        list(APPEND made "${stem}.S" "${stem}.bin")
        list(APPEND sources "${stem}.S")
    endif()
    if(arg_SELFTEST)
        list(APPEND command --selftest)
        list(APPEND made "${stem}_selftest.c")
        list(APPEND sources "${stem}_selftest.c")
    endif()
    list(APPEND command ${arg_OPTIONS})

    # Makefiles do not look at changed options by themselves: they are a file like others.
    file(MAKE_DIRECTORY "${folder}")
    set(before "")
    if(EXISTS "${stem}.options")
        file(READ "${stem}.options" before)
    endif()
    if(NOT before STREQUAL "${command}")
        file(WRITE "${stem}.options" "${command}")
    endif()

    # The sources are by-products: they are older than the model where nothing in them has changed.
    add_custom_command(
        OUTPUT "${stem}.stamp"
        BYPRODUCTS ${made}
        COMMAND "${DCFORMAT_DCCONVERT}" ${command} -o "${stem}.c" --quiet
                --depfile "${stem}.d" --depfile-target "${stem}.stamp"
        COMMAND "${CMAKE_COMMAND}" -E touch "${stem}.stamp"
        DEPENDS ${needed} "${stem}.options" "${DCFORMAT_DCCONVERT}"
        DEPFILE "${stem}.d"
        COMMENT "Converting ${arg_MODEL} to C"
        VERBATIM)
    add_custom_target(${target}_sources DEPENDS "${stem}.stamp")
    set_source_files_properties(${made} PROPERTIES GENERATED TRUE)
    add_library(${target} STATIC ${sources})
    add_dependencies(${target} ${target}_sources)
    target_include_directories(${target} PUBLIC "${folder}")
    if(arg_FORM STREQUAL "blob")
        set_source_files_properties("${stem}.S" PROPERTIES
            INCLUDE_DIRECTORIES "${folder}" OBJECT_DEPENDS "${stem}.bin")
    endif()
    if(NOT arg_FORM STREQUAL "dense")
        target_link_libraries(${target} PUBLIC dcformat_decoder)
    endif()
endfunction()

cmake_policy(POP)

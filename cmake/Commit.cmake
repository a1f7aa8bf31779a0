# Writes OUTPUT, a C++ file that defines the commit of SOURCE: empty outside git. Run at every build; the file changes
# with the commit alone.
set(commit "")
find_program(git git)
if(git AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${git} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
  "namespace igebm::tools {\nextern const char* const commit;\nconst char* const commit = \"${commit}\";\n}\n")

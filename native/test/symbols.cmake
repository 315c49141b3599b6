# Fails unless LIBRARY exports credence_backend_entry and nothing else.
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE text RESULT_VARIABLE status)
string(REGEX MATCHALL "[0-9a-fA-F]+ [A-Za-z] [^\n]+" symbols "${text}")
if(NOT status EQUAL 0 OR NOT symbols MATCHES "^[0-9a-fA-F]+ T credence_backend_entry$")
  message(FATAL_ERROR "${LIBRARY} must export credence_backend_entry alone; it exports: ${symbols}")
endif()

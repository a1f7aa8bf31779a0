include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(IGEBM_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/igebm)
install(TARGETS igebm ${IGEBM_ROOMS} EXPORT igebm ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS igebm_program DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT igebm NAMESPACE igebm:: DESTINATION ${IGEBM_PACKAGE_DIR})
install(DIRECTORY igebm/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/igebm FILES_MATCHING PATTERN "*.h")
install(DIRECTORY recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/igebm/recipes)
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/igebm/models)
# The program finds LibTorch where it was built with it.
get_filename_component(libtorch_lib ${LibTorch_c10_LIBRARY} DIRECTORY)
set_target_properties(igebm_program PROPERTIES INSTALL_RPATH ${libtorch_lib})

configure_package_config_file(cmake/igebmConfig.cmake.in ${PROJECT_BINARY_DIR}/igebmConfig.cmake INSTALL_DESTINATION ${IGEBM_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/igebmConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/igebmConfig.cmake ${PROJECT_BINARY_DIR}/igebmConfigVersion.cmake cmake/FindLibTorch.cmake
  DESTINATION ${IGEBM_PACKAGE_DIR})

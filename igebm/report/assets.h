#pragma once

/// Files that pages are made of, within the program (cmake/Embed.cmake).
namespace igebm::report {

extern const char style[], script[];  ///< of web/report.*
extern const unsigned long style_size, script_size;
extern const char figures_script[];  ///< web/figures.js, of reports and the viewer
extern const unsigned long figures_script_size;
extern const char dygraphs_style[], dygraphs_script[];  ///< empty where igebm was built without
extern const unsigned long dygraphs_style_size, dygraphs_script_size;

}  // namespace igebm::report

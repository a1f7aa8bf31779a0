#pragma once

#include <gtest/gtest.h>

#include <string>

#include "igebm/base/error.h"

namespace igebm {

/// What an action says when it refuses.
template <typename Act>
std::string error_of(const Act& act) {
  try {
    act();
  } catch (const UserError& e) {
    return e.what();
  }
  return "no error";
}

#define EXPECT_SAYS(action, text)                                                              \
  do {                                                                                         \
    const std::string said = ::igebm::error_of([&] { action; });                               \
    EXPECT_NE(said.find(text), std::string::npos) << "expected " << (text) << " in: " << said; \
  } while (false)

}  // namespace igebm

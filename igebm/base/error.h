#pragma once

#include <stdexcept>
#include <string>

namespace igebm {

/// What the user can mend: a bad option, a damaged file, a full disk. The message is one line that says what,
/// where, and what was expected; the program prints it and exits with status 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace igebm

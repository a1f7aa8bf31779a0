#pragma once

#include <cstddef>
#include <string>
#include <vector>

/// Compositions of energies as text: "shape(square) & !rotation(0)", "digits(3) | digits(8)", "0.5*a & 2*(b | c)", "a
/// \ b".
namespace igebm::generation {

/// A tree. `weight` multiplies the energy within "and", is the share of a mixture within "or", and says of what is to
/// be without how strongly.
struct Expression {
  enum class Kind {
    term,         ///< a name, with arguments or without
    conjunction,  ///< "and", &: the sum of the parts' energies
    disjunction,  ///< "or", |: the mixture of the parts' densities
    difference,   ///< "without", \: the first, where the others are not likelier
  };
  Kind kind = Kind::term;
  double weight = 1;
  bool negated = false;  ///< "not", !: within "and", its energy is taken away
  std::string name;
  std::vector<std::string> arguments;
  std::vector<Expression> parts;     ///< of all but a term, at least 2
  std::size_t column = 1;            ///< where it begins in the text, from 1
  std::size_t arguments_column = 1;  ///< where the first argument does

  std::string text() const;  ///< of a term: "digits(3)"
};

/// Binds from the loosest: |, \, &, then ! and WEIGHT *. Parentheses group. Names are of letters, digits, "_", "-" and
/// ".", and begin with a letter. Throws UserError that says the column.
Expression parse(const std::string& text);

/// Whether it is a name and nothing else.
bool is_name(const std::string& text);

}  // namespace igebm::generation

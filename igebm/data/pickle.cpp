#include "igebm/data/pickle.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "igebm/base/error.h"
#include "igebm/io/files.h"

namespace igebm::data {

const PickleValue* PickleValue::find(const std::string& key) const {
  for (const auto& [k, value] : pairs) {
    if (k->kind == Kind::text && k->text == key) return value.get();
  }
  return nullptr;
}

namespace {

using Kind = PickleValue::Kind;
using Ref = std::shared_ptr<PickleValue>;

Ref make(Kind kind, std::string text = {}) {
  auto value = std::make_shared<PickleValue>();
  value->kind = kind;
  value->text = std::move(text);
  return value;
}

Ref make_integer(std::int64_t number, Kind kind = Kind::integer) {
  Ref value = make(kind);
  value->integer = number;
  return value;
}

at::ScalarType scalar_type(const std::string& code) {
  static const std::vector<std::pair<const char*, at::ScalarType>> types = {
      {"u1", at::kByte}, {"i1", at::kChar},  {"i2", at::kShort},  {"i4", at::kInt},
      {"i8", at::kLong}, {"f4", at::kFloat}, {"f8", at::kDouble}, {"b1", at::kBool}};
  for (const auto& [name, type] : types) {
    if (code == name) return type;
  }
  throw UserError(fmt::format("an array of type \"{}\", which this reader does not know", code));
}

std::vector<std::int64_t> reversed(std::size_t dimensions) {
  std::vector<std::int64_t> order;
  for (std::size_t d = dimensions; d > 0; --d) order.push_back(static_cast<std::int64_t>(d) - 1);
  return order;
}

/// Python 3 writes bytes in protocol 2 as a text whose characters are their values.
std::string latin1(const std::string& utf8) {
  std::string bytes;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80) {
      bytes += utf8[i];
    } else if ((c == 0xc2 || c == 0xc3) && i + 1 < utf8.size()) {
      bytes += static_cast<char>(((c & 3U) << 6U) | (static_cast<unsigned char>(utf8[++i]) & 0x3fU));
    } else {
      throw UserError("bytes that are not latin-1");
    }
  }
  return bytes;
}

/// The pickle machine: opcodes as in CPython's Lib/pickletools.py.
class Machine {
 public:
  explicit Machine(std::string bytes) : bytes_(std::move(bytes)) {}
  std::size_t offset() const { return opcode_at_; }

  Ref run() {
    if (bytes_.size() < 2 || bytes_[0] != '\x80') throw UserError("not a pickle of protocol 2 or later");
    while (true) {
      opcode_at_ = at_;
      const char opcode = take(1)[0];
      if (opcode == '.') return pop();
      step(opcode);
    }
  }

 private:
  const char* take(std::uint64_t size) {
    if (size > bytes_.size() - at_)
      throw UserError(fmt::format("truncated: {} bytes expected, {} are left", size, bytes_.size() - at_));
    const char* here = bytes_.data() + at_;
    at_ += size;
    return here;
  }
  template <typename T>
  T number() {
    T value{};
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  template <typename Length>
  void text() {
    const auto size = number<Length>();
    push(make(Kind::text, std::string(take(size), size)));
  }
  std::string line() {
    const auto end = bytes_.find('\n', at_);
    if (end == std::string::npos) throw UserError("truncated in a name");
    std::string name(take(end - at_), end - at_);
    ++at_;
    return name;
  }
  void push(Ref value) { stack_.push_back(std::move(value)); }
  Ref pop() {
    if (stack_.empty() || stack_.size() == (marks_.empty() ? 0 : marks_.back()))
      throw UserError("damaged: nothing to take");
    Ref value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  Ref& top() {
    if (stack_.empty()) throw UserError("damaged: nothing to take");
    return stack_.back();
  }
  std::vector<Ref> pop_to_mark() {
    if (marks_.empty()) throw UserError("damaged: no mark");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Ref> items(std::make_move_iterator(from), std::make_move_iterator(stack_.end()));
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }
  void tuple(std::size_t size) {
    Ref value = make(Kind::tuple);
    for (std::size_t i = 0; i < size; ++i) value->items.insert(value->items.begin(), pop());
    push(std::move(value));
  }
  Ref& target(Kind kind) {
    Ref& value = top();
    if (value->kind != kind) throw UserError("damaged: an item for what is no container");
    return value;
  }
  static void set(const Ref& dict, const Ref& key, const Ref& value) { dict->pairs.emplace_back(key, value); }

  static const PickleValue& item(const PickleValue& tuple, std::size_t i, Kind kind) {
    if (tuple.kind != Kind::tuple || i >= tuple.items.size() || tuple.items[i]->kind != kind)
      throw UserError("damaged: not how an array is written");
    return *tuple.items[i];
  }

  /// Batches are large: an array stands where its bytes were read, and keeps them.
  static at::Tensor array(const PickleValue& dimensions, const std::string& code, const Ref& data, bool fortran) {
    const at::ScalarType type = scalar_type(code);
    const std::uint64_t size = data->text.size();
    std::vector<std::int64_t> shape;
    std::uint64_t expected = at::elementSize(type);
    for (const auto& d : dimensions.items) {
      const std::int64_t length = d->integer;
      if (length < 0 || expected > size / static_cast<std::uint64_t>(std::max<std::int64_t>(length, 1)))
        throw UserError("damaged: an array whose shape does not fit its data");
      expected *= static_cast<std::uint64_t>(length);
      shape.push_back(length);
    }
    if (expected != size) throw UserError("damaged: an array whose shape does not fit its data");
    if (fortran) std::reverse(shape.begin(), shape.end());
    const at::Tensor stored = at::from_blob(
        data->text.data(), shape, [owner = data](void*) {}, at::TensorOptions(type));
    return fortran ? stored.permute(reversed(shape.size())).contiguous() : stored;
  }

  /// A number that NumPy wrote as its type and its bytes.
  static Ref scalar(const std::string& code, const std::string& bytes) {
    const at::ScalarType type = scalar_type(code);
    if (bytes.size() != at::elementSize(type)) throw UserError("damaged: a number whose type does not fit its data");
    at::Tensor value = at::empty({}, type);
    std::memcpy(value.data_ptr(), bytes.data(), bytes.size());
    if (!value.is_floating_point()) return make_integer(value.item<std::int64_t>());
    Ref real = make(Kind::real);
    real->real = value.item<double>();
    return real;
  }

  static Ref call(const PickleValue& function, const PickleValue& arguments) {
    const std::string& name = function.text;
    if (function.kind == Kind::name) {
      if (name == "numpy.core.multiarray _reconstruct" || name == "numpy._core.multiarray _reconstruct")
        return make(Kind::array);
      if (name == "numpy.core.numeric _frombuffer" || name == "numpy._core.numeric _frombuffer") {  // protocol 5
        item(arguments, 0, Kind::text);
        Ref value = make(Kind::array);
        value->array = array(item(arguments, 2, Kind::tuple), item(arguments, 1, Kind::type).text, arguments.items[0],
                             item(arguments, 3, Kind::text).text == "F");
        return value;
      }
      if (name == "numpy.core.multiarray scalar" || name == "numpy._core.multiarray scalar")
        return scalar(item(arguments, 0, Kind::type).text, item(arguments, 1, Kind::text).text);
      if (name == "numpy dtype") return make(Kind::type, item(arguments, 0, Kind::text).text);
      if (name == "_codecs encode") return make(Kind::text, latin1(item(arguments, 0, Kind::text).text));
      if ((name == "__builtin__ bytes" || name == "builtins bytes") && arguments.items.empty()) return make(Kind::text);
    }
    throw UserError(fmt::format("it would call \"{}\", which data batches have no use for", name));
  }

  static void build(PickleValue& value, const PickleValue& state) {
    if (value.kind == Kind::type) {  // (version, byte order, ...)
      if (item(state, 1, Kind::text).text == ">") throw UserError("an array of big-endian numbers");
    } else if (value.kind == Kind::array) {  // (version, shape, type, Fortran order, data)
      item(state, 4, Kind::text);
      value.array = array(item(state, 1, Kind::tuple), item(state, 2, Kind::type).text, state.items[4],
                          item(state, 3, Kind::boolean).integer != 0);
    } else {
      throw UserError("it would set an object's state, which data batches have no use for");
    }
  }

  void step(char opcode) {
    switch (static_cast<unsigned char>(opcode)) {
      case 0x80:  // PROTO
        take(1);
        break;
      case 0x95:  // FRAME
        take(8);
        break;
      case '(':  // MARK
        marks_.push_back(stack_.size());
        break;
      case '}':  // EMPTY_DICT
        push(make(Kind::dict));
        break;
      case ']':  // EMPTY_LIST
        push(make(Kind::list));
        break;
      case ')':  // EMPTY_TUPLE
        push(make(Kind::tuple));
        break;
      case 0x85:  // TUPLE1
        tuple(1);
        break;
      case 0x86:  // TUPLE2
        tuple(2);
        break;
      case 0x87:  // TUPLE3
        tuple(3);
        break;
      case 'N':  // NONE
        push(make(Kind::none));
        break;
      case 0x88:  // NEWTRUE
        push(make_integer(1, Kind::boolean));
        break;
      case 0x89:  // NEWFALSE
        push(make_integer(0, Kind::boolean));
        break;
      case 'K':  // BININT1
        push(make_integer(number<std::uint8_t>()));
        break;
      case 'M':  // BININT2
        push(make_integer(number<std::uint16_t>()));
        break;
      case 'J':  // BININT
        push(make_integer(number<std::int32_t>()));
        break;
      case 'U':
      case 'C':
      case 0x8c:  // SHORT_BIN{STRING,BYTES,UNICODE}
        text<std::uint8_t>();
        break;
      case 'T':
      case 'B':
      case 'X':  // BIN{STRING,BYTES,UNICODE}
        text<std::uint32_t>();
        break;
      case 0x8d:
      case 0x8e:
      case 0x96:  // BIN{UNICODE,BYTES}8, BYTEARRAY8
        text<std::uint64_t>();
        break;
      case 'q':  // BINPUT
        memo_[number<std::uint8_t>()] = top();
        break;
      case 'r':  // LONG_BINPUT
        memo_[number<std::uint32_t>()] = top();
        break;
      case 0x94:  // MEMOIZE
        memo_[static_cast<std::uint32_t>(memo_.size())] = top();
        break;
      case 'h':  // BINGET
        recall(number<std::uint8_t>());
        break;
      case 'j':  // LONG_BINGET
        recall(number<std::uint32_t>());
        break;
      case 'G': {  // BINFLOAT, big-endian
        auto bits = number<std::uint64_t>();
        bits = __builtin_bswap64(bits);
        push(make(Kind::real));
        std::memcpy(&top()->real, &bits, sizeof bits);
        break;
      }
      case 0x8a: {  // LONG1
        const auto size = number<std::uint8_t>();
        if (size > 8) throw UserError("an integer beyond 64 bits");
        const char* bytes = take(size);
        std::int64_t value = size > 0 && bytes[size - 1] < 0 ? -1 : 0;
        std::memcpy(&value, bytes, size);
        push(make_integer(value));
        break;
      }
      case 't': {  // TUPLE
        auto items = pop_to_mark();
        push(make(Kind::tuple));
        top()->items = std::move(items);
        break;
      }
      case 'a': {  // APPEND
        const Ref value = pop();
        target(Kind::list)->items.push_back(value);
        break;
      }
      case 'e': {  // APPENDS
        const auto items = pop_to_mark();
        auto& list = target(Kind::list)->items;
        list.insert(list.end(), items.begin(), items.end());
        break;
      }
      case 's': {  // SETITEM
        const Ref value = pop(), key = pop();
        set(target(Kind::dict), key, value);
        break;
      }
      case 'u': {  // SETITEMS
        const auto items = pop_to_mark();
        if (items.size() % 2 != 0) throw UserError("damaged: a key without a value");
        for (std::size_t i = 0; i < items.size(); i += 2) set(target(Kind::dict), items[i], items[i + 1]);
        break;
      }
      case 'c': {  // GLOBAL
        const std::string module = line();
        push(make(Kind::name, module + " " + line()));
        break;
      }
      case 0x93: {  // STACK_GLOBAL
        const Ref name = pop(), module = pop();
        push(make(Kind::name, module->text + " " + name->text));
        break;
      }
      case 'R': {  // REDUCE
        const Ref arguments = pop(), function = pop();
        push(call(*function, *arguments));
        break;
      }
      case 'b': {  // BUILD
        const Ref state = pop();
        build(*top(), *state);
        break;
      }
      default:
        throw UserError(fmt::format("damaged, or more than data batches use: opcode {:#04x}",
                                    static_cast<unsigned>(static_cast<unsigned char>(opcode))));
    }
  }
  void recall(std::uint32_t id) {
    const auto found = memo_.find(id);
    if (found == memo_.end()) throw UserError("damaged: it refers to what is not there");
    push(found->second);
  }

  std::string bytes_;
  std::size_t at_ = 0, opcode_at_ = 0;
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, Ref> memo_;
};

}  // namespace

std::shared_ptr<PickleValue> read_pickle(const std::filesystem::path& path) {
  Machine machine(io::read_file(path));
  try {
    return machine.run();
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: at offset {}: {}", path.string(), machine.offset(), e.what()));
  }
}

}  // namespace igebm::data

#include "igebm/report/evaluations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/evaluation/metrics.h"
#include "igebm/io/base64.h"
#include "igebm/io/files.h"
#include "igebm/report/html.h"

namespace igebm::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t most_listed = 24;  // numbers in a cell; longer lists are for programs

fs::path folder_of(const fs::path& run) { return run / "evaluations"; }

/// FNV-1a: which of a kind's commands it is.
std::uint32_t hash_of(const std::string& text) {
  std::uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash;
}

std::string words(std::string_view key) {
  std::string out(key);
  std::ranges::replace(out, '_', ' ');
  return out;
}

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) return fmt::format("{:.4g}", value.get<double>());
  return value.is_null() ? "-" : value.dump();
}

/// A figure of a result.
struct Cell {
  std::string name, text;
  std::optional<double> value = {}, low = {}, high = {};
  bool is_text = false;    // it says which row of a table this is
  bool is_figure = false;  // no count, and nothing that was asked for
};

/// A list of objects within a result.
struct List {
  std::string name;
  const Json* rows;
};

/// "interval" is that of "value" or "nats", "X_interval" that of X.
const Json* interval_of(const Json& object, const std::string& key) {
  std::string name = key + "_interval";
  if (!object.contains(name)) name = "interval";
  if (name == "interval" && key != "value" && key != "nats") return nullptr;
  const auto found = object.find(name);
  return found != object.end() && found->is_array() && found->size() == 2 && (*found)[0].is_number() &&
                 (*found)[1].is_number()
             ? &*found
             : nullptr;
}

Cell cell_of(std::string name, const Json& object, const std::string& key, const Json& value) {
  Cell cell{.name = std::move(name),
            .text = text_of(value),
            .is_text = value.is_string(),
            .is_figure = value.is_number_float()};
  if (!value.is_number()) return cell;
  cell.value = value.get<double>();
  if (const Json* interval = interval_of(object, key)) {
    cell.low = (*interval)[0].get<double>(), cell.high = (*interval)[1].get<double>();
    cell.text += fmt::format(" ({:.4g} to {:.4g})", *cell.low, *cell.high);
  } else if (key == "mean" && object.contains("deviation") && object["deviation"].is_number()) {
    const double deviation = object["deviation"].get<double>();
    cell.low = *cell.value - deviation, cell.high = *cell.value + deviation;
    cell.text += fmt::format(" ± {:.2g}", deviation);
  }
  return cell;
}

/// All figures within an object, those of objects within it under both names; lists of objects apart.
void flatten(const Json& object, const std::string& prefix, std::vector<Cell>& cells, std::vector<List>& lists) {
  const bool has_mean = object.contains("mean") && object.contains("deviation");
  for (const auto& [key, value] : object.items()) {
    if (key == "interval" || key.ends_with("_interval") || (has_mean && key == "deviation")) continue;
    const bool bare = !prefix.empty() && (key == "value" || (has_mean && key == "mean"));
    const std::string name = bare ? prefix : prefix.empty() ? words(key) : prefix + ", " + words(key);
    if (value.is_object()) {
      flatten(value, name, cells, lists);
    } else if (!value.is_array()) {
      cells.push_back(cell_of(name, object, key, value));
    } else if (!value.empty() && std::ranges::all_of(value, [](const Json& v) { return v.is_object(); })) {
      lists.push_back({name, &value});
    } else if (!value.empty() && value.size() <= most_listed &&
               std::ranges::none_of(value, [](const Json& v) { return v.is_structured(); })) {
      std::vector<std::string> all;
      for (const Json& v : value)
        all.push_back(v.is_number_float() ? fmt::format("{:.3g}", v.get<double>()) : text_of(v));
      cells.push_back({.name = name, .text = fmt::format("{}", fmt::join(all, ", "))});
    }
  }
}

std::string facts(const std::vector<Cell>& cells) {
  if (cells.empty()) return {};
  std::string out = "<table class=\"facts\">";
  for (const Cell& c : cells)
    out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(c.name), escaped(c.text));
  return out + "</table>";
}

using Row = std::vector<Cell>;

const Cell* find(const Row& row, const std::string& name) {
  const auto found = std::ranges::find(row, name, &Cell::name);
  return found == row.end() ? nullptr : &*found;
}

/// What its cells are of: those of all rows, in order.
std::vector<std::string> columns_of(const std::vector<Row>& rows) {
  std::vector<std::string> columns;
  for (const Row& row : rows) {
    for (const Cell& cell : row) {
      if (std::ranges::find(columns, cell.name) == columns.end()) columns.push_back(cell.name);
    }
  }
  return columns;
}

std::string table(const std::vector<Row>& rows) {
  const std::vector<std::string> columns = columns_of(rows);
  std::string out = "<table><thead><tr>";
  for (const std::string& column : columns) out += fmt::format("<th scope=\"col\">{}</th>", escaped(column));
  out += "</tr></thead><tbody>";
  for (const Row& row : rows) {
    out += "<tr>";
    for (const std::string& column : columns) {
      const Cell* cell = find(row, column);
      out += fmt::format("<td>{}</td>", cell == nullptr ? "" : escaped(cell->text));
    }
    out += "</tr>";
  }
  return out + "</tbody></table>";
}

/// What a row is of, in a chart: its short texts, or its first figure.
std::string label_of(const Row& row) {
  constexpr std::size_t longest = 28;
  std::string label;
  for (const Cell& cell : row) {
    if (cell.is_text && cell.text.size() <= longest) label += (label.empty() ? "" : ", ") + cell.text;
  }
  if (row[0].is_text) return label;
  return row[0].name + " " + row[0].text + (label.empty() ? "" : ", " + label);
}

/// A dot for each row's figure, with a line for its interval.
std::string chart(const std::vector<Row>& rows, const std::string& column) {
  constexpr double left = 250, right = 610, step = 18;
  struct Mark {
    std::string label, text;
    double value, low, high;
  };
  std::vector<Mark> marks;
  for (const Row& row : rows) {
    const Cell* c = find(row, column);
    if (c != nullptr && c->value)
      marks.push_back({label_of(row), c->text, *c->value, c->low.value_or(*c->value), c->high.value_or(*c->value)});
  }
  if (marks.size() < 2) return {};
  double low = marks[0].low, high = marks[0].high;
  for (const Mark& m : marks) low = std::min(low, m.low), high = std::max(high, m.high);
  if (!(high > low)) return {};
  const auto x = [&](double v) { return left + (v - low) / (high - low) * (right - left); };
  const double height = step * static_cast<double>(marks.size()) + 24;
  std::string out = fmt::format("<svg class=\"chart\" viewBox=\"0 0 640 {:.0f}\" role=\"img\" aria-label=\"{}\">",
                                height, escaped(column));
  for (const double v : {low, (low + high) / 2, high})
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"0\" y2=\"{1:.0f}\"/><text x=\"{0:.1f}\" y=\"{2:.0f}\" "
        "text-anchor=\"middle\">{3:.3g}</text>",
        x(v), height - 20, height - 6, v);
  double y = 0;
  for (const Mark& m : marks) {
    y += step;
    out += fmt::format(
        "<text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text><line class=\"mark\" x1=\"{:.1f}\" x2=\"{:.1f}\" "
        "y1=\"{:.1f}\" y2=\"{:.1f}\"/><circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}</title></circle>",
        left - 12, y, escaped(m.label), x(m.low), x(m.high), y - 4, y - 4, x(m.value), y - 4, escaped(m.text));
  }
  return out + "</svg>";
}

/// The first column with intervals, or the Fréchet distance.
std::string charted(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    for (const Cell& cell : row) {
      if (cell.low) return cell.name;
    }
  }
  return "frechet";
}

/// A list of objects, and then the lists within them, whose rows begin with their object's first figure.
std::string list_in_html(const List& list) {
  std::vector<Row> rows;
  std::vector<std::pair<std::string, std::vector<Row>>> within;
  for (const Json& object : *list.rows) {
    std::vector<List> lists;
    flatten(object, "", rows.emplace_back(), lists);
    for (const List& inner : lists) {
      auto found = std::ranges::find(within, inner.name, [](const auto& w) { return w.first; });
      if (found == within.end()) found = within.insert(within.end(), {inner.name, {}});
      for (const Json& one : *inner.rows) {
        Row row;
        if (!rows.back().empty()) row.push_back(rows.back()[0]);
        std::vector<List> none;
        flatten(one, "", row, none);
        found->second.push_back(std::move(row));
      }
    }
  }
  std::string out;
  const auto add = [&](const std::string& name, const std::vector<Row>& all) {
    const std::string column = charted(all);
    std::string drawn = chart(all, column);
    if (!drawn.empty()) drawn = fmt::format("<figure><figcaption>{}</figcaption>{}</figure>", escaped(column), drawn);
    out += fmt::format("<h4>{}</h4>{}{}", escaped(name), drawn, table(all));
  };
  std::erase_if(rows, [](const Row& row) { return row.empty(); });
  if (!rows.empty()) add(list.name, rows);
  for (const auto& [name, all] : within) add(name, all);
  return out;
}

/// A metric's name and which way is better.
std::string in_words(std::string name) {
  for (const evaluation::Metric& metric : evaluation::metrics()) {
    if (metric.name != name) continue;
    if (!metric.higher_is_better) return metric.title;
    return fmt::format("{} ({} is better)", metric.title, *metric.higher_is_better ? "higher" : "lower");
  }
  std::ranges::replace(name, '_', ' ');
  return name;
}

/// Samples' metrics beside those of as many real records, which nothing is better than.
std::string quality(const Json& samples, const Json& real) {
  std::vector<Cell> ours, floor;
  std::vector<List> none;
  flatten(samples, "", ours, none);
  flatten(real, "", floor, none);
  std::vector<Row> rows;
  for (const Cell& cell : ours) {
    const Cell* beside = find(floor, cell.name);
    rows.push_back({{"metric", in_words(cell.name)},
                    {"samples", cell.text},
                    {"real against real", beside != nullptr ? beside->text : ""}});
  }
  return table(rows);
}

}  // namespace

std::string minute_of(std::time_t time) {
  std::tm parts{};
  gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min);
}

std::string minute_of(const fs::path& file) {
  std::error_code none;
  const auto at = fs::last_write_time(file, none);
  if (none) return {};
  const auto moment =
      std::chrono::time_point_cast<std::chrono::system_clock::duration>(std::chrono::file_clock::to_sys(at));
  return minute_of(std::chrono::system_clock::to_time_t(moment));
}

void keep_evaluation(const fs::path& run, const Evaluation& e, const std::string& command) {
  const fs::path folder = folder_of(run);
  io::make_folder(folder);
  const std::string name = fmt::format("{}-{:08x}", e.kind, hash_of(command));
  if (!e.picture.empty()) io::write_atomically(folder / (name + ".png"), e.picture);
  io::write_atomically(folder / (name + ".json"), e.json);
}

namespace {

/// What was found, as it is shown: two threads differ from one in the ninth digit.
std::string figures_of(const Json& result) {
  std::vector<Cell> cells;
  std::vector<List> lists;
  flatten(result.contains("quality") ? result["quality"] : result, "", cells, lists);
  std::vector<std::string> text;
  if (result.contains("quality") && result.contains("samples")) text.push_back(text_of(result["samples"]));
  for (const Cell& cell : cells) {
    if (cell.name != "seconds") text.push_back(cell.name + "=" + cell.text);
  }
  for (const List& list : lists) text.push_back(list.rows->dump());
  return fmt::format("{}", fmt::join(text, "|"));
}

}  // namespace

std::vector<Evaluation> read_evaluations(const fs::path& run) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder_of(run), none)) {
    if (entry.path().extension() == ".json" && entry.is_regular_file(none)) files.push_back(entry.path());
  }
  const auto place_of = [](const std::string& kind) {  // what says most first
    constexpr std::array<std::string_view, 7> order = {"quality",    "accuracy", "classification", "robustness",
                                                       "likelihood", "ood",      "curve"};
    return std::ranges::find(order, kind) - order.begin();
  };
  const auto kind_of = [](const fs::path& file) {
    const std::string stem = file.stem();
    return stem.substr(0, stem.rfind('-'));
  };
  std::ranges::sort(files, [&](const fs::path& a, const fs::path& b) {
    std::error_code gone;
    if (kind_of(a) != kind_of(b))
      return std::pair(place_of(kind_of(a)), kind_of(a)) < std::pair(place_of(kind_of(b)), kind_of(b));
    return fs::last_write_time(a, gone) > fs::last_write_time(b, gone);
  });
  std::vector<Evaluation> found;
  std::set<std::string> seen;
  for (const fs::path& file : files) {
    Evaluation e{.kind = kind_of(file), .json = io::read_file(file), .at = minute_of(file)};
    const Json json = Json::parse(e.json, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("result") || !json["result"].is_object()) continue;
    if (!seen.insert(e.kind + figures_of(json["result"])).second) continue;  // asked for in other words
    const fs::path picture = fs::path(file).replace_extension(".png");
    if (fs::exists(picture)) e.picture = io::read_file(picture);
    found.push_back(std::move(e));
  }
  return found;
}

std::string in_html(const Evaluation& e, bool shows_picture) {
  const Json json = Json::parse(e.json);
  Json result = json["result"];
  const Json of = json.value("provenance", Json::object());
  std::string out = fmt::format("<article class=\"evaluation\"><h3>{}</h3>", escaped(e.kind));
  if (of.contains("command")) out += fmt::format("<pre>{}</pre>", escaped(text_of(of["command"])));
  if (result.contains("quality") && result.contains("real")) {
    if (result.contains("features"))
      out += fmt::format("<p class=\"hint\">{} samples, compared in {}</p>",
                         text_of(result["quality"].value("count", Json())), escaped(text_of(result["features"])));
    out += quality(result["quality"], result["real"]);
    result.erase("quality"), result.erase("real");
  }
  std::vector<Cell> cells;
  std::vector<List> lists;
  flatten(result, "", cells, lists);
  std::string more;
  for (const List& list : lists) more += list_in_html(list);
  if (!e.picture.empty() && shows_picture)
    more += fmt::format("<img class=\"samples\" alt=\"{}\" src=\"{}\">", escaped(e.kind), io::png_url(e.picture));
  for (const char* key : {"step", "seed", "commit"}) {
    if (of.contains(key) && std::ranges::find(cells, key, &Cell::name) == cells.end())
      cells.push_back({.name = key, .text = text_of(of[key])});
  }
  if (json.contains("machine")) cells.push_back({.name = "machine", .text = text_of(json["machine"])});
  cells.push_back({.name = "at", .text = e.at});
  std::vector<Cell> figures, others;
  for (Cell& cell : cells) (cell.is_figure ? figures : others).push_back(std::move(cell));
  out += facts(figures) + more;
  return out + fmt::format("<details><summary>How it was measured</summary>{}</details></article>", facts(others));
}

}  // namespace igebm::report

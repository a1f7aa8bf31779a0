#include "igebm/report/page.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "igebm/io/base64.h"
#include "igebm/io/files.h"
#include "igebm/report/assets.h"
#include "igebm/report/html.h"

namespace igebm::report {

namespace {

using Json = nlohmann::ordered_json;

/// Within a script element nothing may look like its end.
std::string in_script(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace), out;
  for (const char c : text) out += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return out;
}

std::string table(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = "<table class=\"facts\">";
  for (const auto& [what, how] : rows)
    out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(what), escaped(how));
  return out + "</table>";
}

std::string differences(const std::vector<Difference>& found) {
  if (found.empty()) return "<p>All keys are as they are by default.</p>";
  std::string out =
      "<table><thead><tr><th>key</th><th>here</th><th>by default</th><th>meaning</th></tr></thead><tbody>";
  for (const Difference& d : found)
    out += fmt::format("<tr><td><code>{}</code></td><td><code>{}</code></td><td><code>{}</code></td><td>{}</td></tr>",
                       escaped(d.key), escaped(d.value), escaped(d.usual), escaped(d.doc));
  return out + "</tbody></table>";
}

std::string events(const std::vector<Event>& found) {
  if (found.empty()) return {};
  std::string out = "<h3>The watchdog</h3><table><thead><tr><th>step</th><th>what</th></tr></thead><tbody>";
  for (const Event& e : found) out += fmt::format("<tr><td>{}</td><td>{}</td></tr>", e.step, escaped(e.what));
  return out + "</tbody></table>";
}

std::string samples(const RunFacts& run, std::size_t index) {
  std::string out = "<div class=\"pictures\">";
  if (!run.pictures.empty()) {
    const auto last = run.pictures.size() - 1;
    out += fmt::format(
        "<figure><h3>Samples during training</h3><img class=\"samples\" id=\"picture{0}\" alt=\"samples of {1}\" "
        "src=\"{2}\"><figcaption><label>step <output id=\"step{0}\">{3}</output> <input type=\"range\" min=\"0\" "
        "max=\"{4}\" value=\"{4}\" data-run=\"{0}\" class=\"pick\" aria-label=\"training step of the samples\"></label>"
        "</figcaption></figure>",
        index, escaped(run.name), io::png_url(run.pictures[last].second), run.pictures[last].first, last);
  }
  if (!run.last_picture.empty()) {
    std::string columns;
    for (const std::string& name : run.columns) columns += fmt::format("<span>{}</span>", escaped(name));
    out += fmt::format(
        "<figure><h3>Samples at the end</h3><div class=\"last\">{}<img class=\"samples\" alt=\"last samples of {}\" "
        "src=\"{}\"></div></figure>",
        columns.empty() ? "" : "<div class=\"columns\">" + columns + "</div>", escaped(run.name),
        io::png_url(run.last_picture));
  }
  return out + "</div>" + (run.caption.empty() ? "" : fmt::format("<p class=\"hint\">{}</p>", escaped(run.caption)));
}

std::string evaluations(const RunFacts& run) {
  constexpr std::size_t most_bytes = 1000000;  // of their pictures
  if (run.evaluations.empty()) return {};
  std::string out = "<h3>Evaluations</h3>";
  std::size_t bytes = 0;
  for (const Evaluation& e : run.evaluations) out += in_html(e, (bytes += e.picture.size()) <= most_bytes);
  return out;
}

std::string repeats(const RunFacts& run) {
  return fmt::format(
      "<h3>To repeat it</h3><p>Save <a download=\"recipe.toml\" "
      "href=\"data:application/toml;base64,{}\">recipe.toml</a>, "
      "which stands below, too, and with igebm</p><pre>igebm train recipe.toml --out again\nigebm sample again --count "
      "100 "
      "--out samples.png</pre>",
      io::base64(run.recipe));
}

std::string section(const RunFacts& run, std::size_t index, bool alone) {
  std::string out = "<section class=\"run\">";
  if (!alone) out += fmt::format("<h2>{}</h2>", escaped(run.name));
  out += table(run.facts) + samples(run, index) + events(run.events) + evaluations(run) + repeats(run);
  out += fmt::format("<details><summary>Recipe: {} keys differ from their defaults</summary>{}</details>",
                     run.differences.size(), differences(run.differences));
  out += fmt::format("<details><summary>recipe.toml</summary><pre>{}</pre></details>", escaped(run.recipe));
  if (!run.card.empty())
    out +=
        fmt::format("<details open><summary>Card</summary><pre class=\"card\">{}</pre></details>", escaped(run.card));
  return out + "</section>";
}

Json series_json(const Series& series) {
  Json points = Json::array();
  for (const auto& [step, value] : series.points)
    points.push_back({step, Json::parse(fmt::format("{:.6g}", value), nullptr, false)});
  return {{"name", series.name}, {"each", series.each}, {"points", std::move(points)}};
}

Json data_of(const std::vector<RunFacts>& runs) {
  Json all = Json::array();
  for (const RunFacts& run : runs) {
    Json one = {{"name", run.name},
                {"series", Json::array()},
                {"phases", Json::array()},
                {"pictures", Json::array()},
                {"trace", Json::array()}};
    for (const Series& s : run.series) one["series"].push_back(series_json(s));
    for (const Event& p : run.phases) one["phases"].push_back({p.step, p.what});
    for (const Event& e : run.events) one["events"].push_back({e.step, e.what});
    for (const Series& s : run.trace) one["trace"].push_back(series_json(s));
    for (const auto& [step, png] : run.pictures) one["pictures"].push_back({step, io::png_url(png)});
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace

std::string page(const std::vector<RunFacts>& runs, const PageOptions& options) {
  std::string title;
  for (const RunFacts& run : runs) title += (title.empty() ? "" : ", ") + run.name;
  std::string out = fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" "
      "content=\"default-src "
      "'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">{}<title>{}</title><style>",
      options.reload_seconds > 0 ? fmt::format("<meta http-equiv=\"refresh\" content=\"{}\">", options.reload_seconds)
                                 : "",
      escaped(title));
  out.append(dygraphs_style, dygraphs_style_size).append(style, style_size);
  out += fmt::format("</style></head><body><header><h1>{}</h1></header><main><div class=\"runs\">", escaped(title));
  for (std::size_t i = 0; i < runs.size(); ++i) out += section(runs[i], i, runs.size() == 1);
  out +=
      "</div><section id=\"curves\"><h2>Curves</h2><p class=\"controls\"><label>mean over <input id=\"smooth\" "
      "type=\"range\" "
      "min=\"1\" max=\"100\" value=\"1\"> <output id=\"smooth-of\">1</output> points</label> <label><input id=\"log\" "
      "type=\"checkbox\"> logarithmic</label> <span class=\"hint\">drag to zoom, double click for all</span></p>"
      "<div id=\"plots\"></div><div id=\"trace\" hidden><h2>What the chains of the last samples went through</h2><p "
      "class=\"hint\">mean over chains, against steps of the sampler</p><div class=\"plots\"></div></div>"
      "</section></main><footer>";
  if (!options.repeat.empty()) out += fmt::format("<p>This page: <code>{}</code></p>", escaped(options.repeat));
  out += table(options.made_by) + "</footer><script type=\"application/json\" id=\"data\">";
  out += in_script(data_of(runs));
  out += "</script><script>";
  out.append(dygraphs_script, dygraphs_script_size);
  out += "</script><script>";
  out.append(figures_script, figures_script_size).append(script, script_size);
  return out + "</script></body></html>\n";
}

}  // namespace igebm::report

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/io/files.h"
#include "igebm/model/files.h"
#include "igebm/model/model.h"

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace igebm::scoring {
struct Interval;
}

/// One function per subcommand: it adds its options and what to do when it is chosen.
namespace igebm::tools {

void add_train(CLI::App& app);
void add_sample(CLI::App& app);
void add_info(CLI::App& app);
void add_report(CLI::App& app);
void add_serve(CLI::App& app);
void add_score(CLI::App& app);
void add_compose(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_evaluate_samples(CLI::App& evaluate);
void add_evaluate_ood(CLI::App& evaluate);
void add_evaluate_likelihood(CLI::App& evaluate);
void add_evaluate_classification(CLI::App& evaluate);
void add_evaluate_robustness(CLI::App& evaluate);
void add_evaluate_continual(CLI::App& evaluate);
void add_neighbours(CLI::App& app);
void add_curve(CLI::App& app);
void add_inpaint(CLI::App& app);
void add_denoise(CLI::App& app);
void add_restore(CLI::App& app);
void add_morph(CLI::App& app);
void add_bench(CLI::App& app);
void add_data(CLI::App& app);
void add_models(CLI::App& app);
void add_export(CLI::App& app);

/// --weights average|network, of a run's checkpoint.
void add_weights_option(CLI::App& command, std::string& weights);
model::Weights weights_of(const std::string& name);

/// RUN, which must be given.
void add_run_argument(CLI::App& command, std::string& run);
/// --best, of a run.
void add_best_option(CLI::App& command, bool& best);

/// A page about runs (report/page.h), which a browser asks for again every so many seconds while one is in training, if
/// that is above 0. Whether one is.
bool write_report(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& out,
                  std::int64_t reload_seconds = 0);

/// A run, checkpoint or shipped model with its recipe, as `set` changes it.
model::Model open_model(const std::string& run, const model::OpenOptions& options, const std::vector<std::string>& set);
/// Have its energies of different noise levels been trained to compare (time_score)?
bool levels_compare(const std::string& run, const std::vector<std::string>& set);
/// "mnist (step 24000; 100 levels …, seed 0)": what drew samples.
std::string describe_samples(const std::string& run, const model::Model& model, std::uint64_t seed);

/// Where a file's content comes from, beside the program and the command.
struct Origin {
  std::string model;                       ///< as the user calls it, or an expression; empty: none
  std::string step;                        ///< training steps; empty: not known, or several models
  std::optional<std::uint64_t> seed = {};  ///< of random numbers
  bool command = true;                     ///< is it the command that made it alone?
};
/// What every picture and npz file says of itself (io::write_png, io::write_npz): one JSON object of program, commit,
/// command, model, step and seed, under the name "provenance". The same command makes the same text.
io::Texts provenance(const Origin& origin);
/// The same of a file. Throws UserError where it has none.
nlohmann::ordered_json read_provenance(const std::filesystem::path& path);
/// main's, to be told by provenance.
void remember_command(int count, char** words);
/// What an evaluation of `origin.model` found, `result` as --json prints it, is kept in its folder for igebm report
/// (report/evaluations.h), with a picture where there is one: of a run of one's own, not of a model that comes with
/// igebm, nor of a file. Where it cannot be written there a line on standard error says so.
void keep_evaluation(const std::string& kind, const Origin& origin, const nlohmann::ordered_json& result,
                     const at::Tensor& picture = {});
/// --device cpu|cuda|cuda:N|auto; empty: as the model's recipe says.
void add_device_option(CLI::App& command, std::string& device);

/// --seed, from 0; `otherwise` says in the help what holds without it.
void add_seed_option(CLI::App& command, std::int64_t& seed, const std::string& otherwise);

/// --set, and --engine, which is short for one of them, of a recipe that is read.
void add_recipe_options(CLI::App& command, std::vector<std::string>& set);

/// --steps, --budget, --guidance and --sampler: each short for one of `set`, after whose option they must come.
void add_sampling_options(CLI::App& command, std::vector<std::string>& set);

/// --threads, 0 to 1024 (0: one per core): set at once; or, of a recipe that sets its own, short for one of `set`,
/// after whose option it must come.
void add_threads_option(CLI::App& command, std::vector<std::string>* set = nullptr);

/// What an option's number must be; not a number (NaN) is never that, where CLI11's own ranges let it through.
CLI::Validator above_zero();
CLI::Validator from_zero();
CLI::Validator number_in(double low, double high);

/// Does what a command does; what is wrong begins with the command's name.
void as_command(const char* name, const std::function<void()>& work);

/// --out of pictures or arrays. Throws UserError where its ending is another, or records of `shape` have no picture.
void check_out(const std::string& out);
void check_out(const std::string& out, const std::vector<std::int64_t>& shape);

/// Prints what is said beside the work, which goes on where that cannot be printed; flush_output tells at the end.
void print_on(const std::string& text);

/// Progress with rate and time left: one line rewritten on a terminal, a plain line now and then otherwise.
std::unique_ptr<Observer> make_console();

/// Messages and progress on the console, or where `quiet` nowhere, until an interrupt ends the work by a UserError that
/// says `on_interrupt`.
std::unique_ptr<Observer> make_progress(std::string on_interrupt, bool quiet);
/// The same, but ends the work by sampling::Stop, after which what is finished is kept.
std::unique_ptr<Observer> make_stopping_progress(bool quiet);
/// What is said of that.
std::string told_of_part(std::int64_t finished, std::int64_t total, std::string_view what);

/// "41 s", "3:05 min", "2:10 h", "3 d 4 h".
std::string duration(double seconds);

/// For programs to read: `indent` as nlohmann's dump() has it. Bytes of a path that are no UTF-8 become U+FFFD.
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);
/// {"value": …, "interval": [low, high]}
nlohmann::ordered_json interval_json(const scoring::Interval& interval);

/// SIGINT, SIGTERM, SIGHUP (unless nohup has it ignored) and SIGUSR1, which schedulers send before they end a job, ask
/// long work to stop; a second SIGINT or SIGTERM ends the program at once. A reader of the output that goes away does
/// not.
void catch_interrupts();
bool interrupted();

/// Before anything is opened: descriptors 0, 1 and 2 that the caller left closed become ones that nothing is written
/// to, or the next file opened would get what is printed.
void guard_standard_streams();
/// Throws UserError where something that was printed is lost.
void flush_output();

}  // namespace igebm::tools

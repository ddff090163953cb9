#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>

#include "base/mmap.h"
#include "cli/answer.h"
#include "cli/ask_options.h"
#include "cli/commands.h"
#include "cli/logits_file.h"
#include "cli/question.h"

namespace glimpse {

namespace {

Result<std::vector<int32_t>> read_prompt_ids(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, size_t{64} << 20));
  auto value = parse_json(text);
  if (!value) return std::move(value).error().in(path);
  if (!value->is_array()) return Error{ErrorCode::kInvalidData, path + ": must be a JSON array of token ids"};
  std::vector<int32_t> ids;
  for (const json::value& id : value->get_array()) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > INT32_MAX) {
      return Error{ErrorCode::kInvalidData,
                   path + ": element " + std::to_string(ids.size()) + " is not a token id: " + json::serialize(id)};
    }
    ids.push_back(static_cast<int32_t>(id.get_int64()));
  }
  return ids;
}

// Streams an answer to the terminal: the answer to stdout, thoughts to stderr.
class Printer {
 public:
  void print(std::string_view text, bool reasoning) {
    if (reasoning) {
      if (!thinking_) std::fputs(dim_ ? "\x1b[2m" : "", stderr);
      thinking_ = true;
      std::fwrite(text.data(), 1, text.size(), stderr);
      std::fflush(stderr);
      return;
    }
    end_thoughts();
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  void finish() {
    end_thoughts();
    std::fputc('\n', stdout);
    std::fflush(stdout);
  }

 private:
  void end_thoughts() {
    if (thinking_) std::fputs(dim_ ? "\x1b[0m\n" : "\n", stderr);
    thinking_ = false;
  }

  bool dim_ = ::isatty(STDERR_FILENO) == 1;
  bool thinking_ = false;
};

// The size of an account's span list, so that recording does not allocate while decoding.
size_t expected_spans(const Question& question) {
  return 16 + 4 * question.images.size() + 2 * static_cast<size_t>(question.max_tokens);
}

class AskCommand {
 public:
  explicit AskCommand(const AskOptions& options) : options_(options) {}

  Status run() {
    if (options_.question.empty() && options_.prompt_ids_file.empty() && options_.batch.empty()) {
      return Error{ErrorCode::kInvalidArgument, "no question; see glimpse ask --help"};
    }
    const int64_t start = clock_.now_ns();
    Question question{.images = options_.images,
                      .text = options_.question,
                      .think = options_.think,
                      .max_tokens = options_.max_tokens,
                      .ignore_eos = options_.ignore_eos,
                      .keep_logits = !options_.dump_logits.empty()};
    if (question.text == "-") {
      question.text.assign(std::istreambuf_iterator<char>(std::cin), {});
      while (!question.text.empty() && question.text.back() == '\n') question.text.pop_back();
    }
    if (!options_.prompt_ids_file.empty()) {
      ASSIGN_OR_RETURN(question.prompt_ids, read_prompt_ids(options_.prompt_ids_file));
    }
    ASSIGN_OR_RETURN(
        const ModelSource source,
        open_model(options_.model.model, options_.model.load_format == "dummy" ? LoadFormat::kDummy : LoadFormat::kAuto,
                   question.prompt_ids ? TokenizerUse::kOptional : TokenizerUse::kRequired));
    ASSIGN_OR_RETURN(question.sampling, resolve_sampling(options_, source.generation));
    ASSIGN_OR_RETURN(auto backend, make_backend(options_.model));
    ASSIGN_OR_RETURN(const auto runner, load_runner(std::move(backend), source, options_.model));
    Asker asker(source, *runner, clock_);
    load_ms_ = static_cast<double>(clock_.now_ns() - start) / 1e6;
    if (!options_.batch.empty()) return run_batch(asker, source, question);
    if (options_.repeat > 1) return run_repeated(asker, question);
    return run_once(asker, source, question);
  }

 private:
  Status run_once(Asker& asker, const ModelSource& source, const Question& question) {
    LatencyAccount account(clock_.now_ns(), expected_spans(question));
    Printer printer;
    ASSIGN_OR_RETURN(const Answer answer, asker.ask(question, account, [&](std::string_view text, bool reasoning) {
      if (!options_.json) printer.print(text, reasoning);
    }));
    account.finish(clock_.now_ns());
    if (options_.json) {
      json::object object = answer_json(answer, account, source);
      object["load_ms"] = load_ms_;
      fmt::print("{}\n", to_text(object));
    } else {
      printer.finish();
    }
    if (options_.dump_logits.empty()) return {};
    return write_logits(options_.dump_logits, answer.logits, source.config.text.vocab_size);
  }

  Status run_repeated(Asker& asker, const Question& question) {
    std::vector<LatencyAccount::Summary> runs;
    std::string first;
    for (int i = 0; i < options_.repeat; ++i) {
      LatencyAccount account(clock_.now_ns(), expected_spans(question));
      ASSIGN_OR_RETURN(const Answer answer, asker.ask(question, account, [](std::string_view, bool) {}));
      account.finish(clock_.now_ns());
      if (i == 0) {
        first = answer.text;
        fmt::print("{}\n{} prompt tokens, {} output tokens\n", answer.text, answer.prompt_ids.size(),
                   answer.output_ids.size());
        continue;  // the first one warms up
      }
      if (answer.text != first && question.sampling.temperature == 0) {
        return Error{ErrorCode::kResource, "run " + std::to_string(i) + " gave another answer: " + answer.text};
      }
      runs.push_back(account.summarize());
    }
    fmt::print("{}", repeat_table(runs));
    return {};
  }

  Status run_batch(Asker& asker, const ModelSource& source, const Question& defaults) {
    std::string text;
    if (options_.batch == "-") {
      text.assign(std::istreambuf_iterator<char>(std::cin), {});
    } else {
      ASSIGN_OR_RETURN(text, read_file(options_.batch, size_t{1} << 30));
    }
    int line_number = 0;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view line = std::string_view(text).substr(begin, end - begin);
      begin = end + 1;
      ++line_number;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      auto status = run_line(asker, source, defaults, line);
      if (!status) return std::move(status).error().in(options_.batch + ":" + std::to_string(line_number));
    }
    return {};
  }

  Status run_line(Asker& asker, const ModelSource& source, Question question, std::string_view line) {
    ASSIGN_OR_RETURN(const json::value value, parse_json(line));
    if (!value.is_object()) return Error{ErrorCode::kInvalidData, "must be a JSON object"};
    const json::object& object = value.get_object();
    ASSIGN_OR_RETURN(question.text, get_string(object, "question", ""));
    ASSIGN_OR_RETURN(question.think, get_bool(object, "think", question.think));
    if (const json::value* images = find(object, "images")) {
      if (!images->is_array()) return Error{ErrorCode::kInvalidData, "\"images\" must be an array of file names"};
      question.images.clear();
      for (const json::value& image : images->get_array()) {
        if (!image.is_string()) return Error{ErrorCode::kInvalidData, "\"images\" must be an array of file names"};
        question.images.emplace_back(image.get_string());
      }
    }
    LatencyAccount account(clock_.now_ns(), expected_spans(question));
    ASSIGN_OR_RETURN(const Answer answer, asker.ask(question, account, [](std::string_view, bool) {}));
    account.finish(clock_.now_ns());
    json::object out = answer_json(answer, account, source);
    if (const json::value* id = find(object, "id")) out["id"] = *id;
    fmt::print("{}\n", to_text(out));
    std::fflush(stdout);
    return {};
  }

  const AskOptions& options_;
  SteadyClock clock_;
  double load_ms_ = 0;
};

}  // namespace

Command add_ask(CLI::App& program) {
  CLI::App* app = program.add_subcommand("ask", "Answers one question, with or without pictures");
  const auto options = std::make_shared<AskOptions>();
  add_ask_options(*app, *options);
  add_model_options(*app, options->model);
  return {app, [options] {
            const Status status = AskCommand(*options).run();
            return status ? 0 : report(status.error());
          }};
}

}  // namespace glimpse

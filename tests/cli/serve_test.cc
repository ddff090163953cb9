// `glimpse serve` as it is run: the real program with glimpse-mini behind it, asked over HTTP, stopped by a signal.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/mmap.h"
#include "tests/cli/program.h"
#include "tests/server/rig.h"

namespace glimpse {
namespace {

// The program until it is stopped. Its log goes to a file.
class Serving {
 public:
  explicit Serving(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "serve");
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(::open(folder_.file("log").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
      std::vector<char*> argv = {const_cast<char*>(GLIMPSE_PROGRAM)};
      for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
      argv.push_back(nullptr);
      ::execv(GLIMPSE_PROGRAM, argv.data());
      ::_exit(127);
    }
    // However long it takes, unless it ends.
    while (log().find("Glimpse is ready") == std::string::npos && running()) ::usleep(20'000);
    const std::string text = log();
    const size_t ready = text.find("Glimpse is ready: http://127.0.0.1:");
    if (ready != std::string::npos) {
      port_ = static_cast<uint16_t>(std::stoi(text.substr(ready + sizeof("Glimpse is ready: http://127.0.0.1:") - 1)));
    }
  }
  ~Serving() {
    if (running()) ::kill(child_, SIGKILL), wait();
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  uint16_t port() const { return port_; }
  void terminate() const { ::kill(child_, SIGTERM); }
  // The exit code; 128 + signal when it was killed.
  int wait() {
    int status = 0;
    if (!ended_) ::waitpid(child_, &status, 0);
    if (!ended_) code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ended_ = true;
    return code_;
  }
  std::string log() const {
    auto text = read_file(folder_.file("log"), size_t{1} << 20);
    return text ? *text : "";
  }

 private:
  bool running() {
    int status = 0;
    if (!ended_ && ::waitpid(child_, &status, WNOHANG) == child_) {
      ended_ = true;
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return !ended_;
  }

  const TemporaryFolder folder_;
  pid_t child_ = 0;
  bool ended_ = false;
  int code_ = 0;
  uint16_t port_ = 0;
};

json::object stored_sample(size_t index) {
  std::istringstream lines(*read_file(sample("samples.jsonl"), size_t{16} << 20));
  std::string line;
  for (size_t i = 0; i <= index; ++i) std::getline(lines, line);
  return parse_json(line)->as_object();
}

json::object body_of(const json::object& stored, bool stream) {
  const std::string file = sample(std::string(stored.at("images").at(0).as_string()));
  json::object body = picture_chat_body(*read_file(file, size_t{16} << 20), stored.at("question").as_string());
  body.erase("model");
  body["temperature"] = 0;
  body["chat_template_kwargs"] = json::object{{"enable_thinking", stored.at("thinking")}};
  body["stream"] = stream;
  return body;
}

std::string text_of_stream(const std::string& body) {
  std::string text;
  for (const json::value& event : events_of(body)) {
    if (!event.is_object()) continue;
    const json::value* content = find(event.at("choices").at(0).at("delta").as_object(), "content");
    if (content != nullptr) text += content->as_string();
  }
  return text;
}

TEST(Serve, AnswersAboutAPictureAndDrainsAtASignal) {
  Serving serving({"--port", "0"});
  ASSERT_NE(serving.port(), 0) << serving.log();
  const json::object stored = stored_sample(4);  // counts clocks, in Chinese
  const std::string expected(stored.at("expected").as_string());
  const Reply reply = post_json(serving.port(), "/v1/chat/completions", body_of(stored, false));
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json().at("choices").at(0).at("message").at("content").as_string(), expected);
  EXPECT_EQ(reply.json().at("usage").at("completion_tokens"), stored.at("generated_ids").as_array().size());
  EXPECT_EQ(text_of_stream(post_json(serving.port(), "/v1/chat/completions", body_of(stored, true)).body), expected);
  EXPECT_EQ(request(serving.port(), "GET", "/ready").status, 200);

  // A signal while an answer is on its way: it is finished, and the program ends as it should.
  json::object running = chat_body("Tell me something.", true);
  running.erase("model");
  running["ignore_eos"] = true;
  running["max_tokens"] = 500;  // under the sanitizers no longer than the server waits for answers at its end
  Client client(serving.port());
  client.send(wire("POST", "/v1/chat/completions", json::serialize(running)));
  const std::string begun = client.receive();
  ASSERT_NE(begun.find("200 OK"), std::string::npos) << begun;
  serving.terminate();
  std::string all = begun;
  for (std::string more = client.receive(); !more.empty(); more = client.receive()) all += more;
  EXPECT_NE(all.find("\"finish_reason\":\"length\""), std::string::npos) << all.substr(all.size() - 500);
  EXPECT_NE(all.find("data: [DONE]"), std::string::npos);
  EXPECT_EQ(serving.wait(), 0) << serving.log();
  EXPECT_NE(serving.log().find("stopped"), std::string::npos) << serving.log();
}

TEST(Serve, APortInUseIsSaidBeforeAnythingIsLoaded) {
  Serving first({"--port", "0", "--lazy-vision"});
  ASSERT_NE(first.port(), 0) << first.log();
  Serving second({"--port", std::to_string(first.port())});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(second.log().find("cannot listen on 127.0.0.1:" + std::to_string(first.port())), std::string::npos)
      << second.log();
  EXPECT_EQ(second.log().find("loading"), std::string::npos) << second.log();
}

TEST(Serve, ManyKeysFromAFileReadOnce) {
  const TemporaryFolder folder;
  std::string keys = "# keys\n\n  first  \r\n";
  for (int i = 0; i < 1000; ++i) keys += "key-" + std::to_string(i) + "\n";
  folder.write("keys", keys + "#no\nlast");
  Serving serving({"--port", "0", "--lazy-vision", "--api-key-file", folder.file("keys"), "--api-key", "flag"});
  ASSERT_NE(serving.port(), 0) << serving.log();
  const auto status = [&](const std::string& key) {
    return request(serving.port(), "GET", "/v1/models", "", {"authorization: Bearer " + key}).status;
  };
  for (const char* key : {"first", "key-0", "key-500", "key-999", "last", "flag"}) EXPECT_EQ(status(key), 200) << key;
  for (const char* key : {"# keys", "#no", "no", "key-1000", "key-", "", "later"}) EXPECT_EQ(status(key), 401) << key;
  folder.write("keys", "later\n");
  EXPECT_EQ(status("later"), 401) << "the file is read when the server starts";
  EXPECT_EQ(status("key-7"), 200);
  folder.write("empty", "\n# nothing\n");
  const auto refused = run_glimpse({"serve", "--port", "0", "--api-key-file", folder.file("empty")});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("has no key"), std::string::npos) << refused.err;
}

TEST(Config, FlagsFromAFileAndTheCommandLineWins) {
  const TemporaryFolder folder;
  folder.write("glimpse.yaml",
               "# a server\n"
               "port: 0\n"
               "served_model_name: [first, second]\n"
               "max-model-len: 4k\n"
               "limit-mm-per-prompt: {image: 3}\n"
               "lazy-vision: true\n"
               "enforce-eager: false\n"
               "api-key:\n  - one\n  - 'two'\n");
  Serving serving({"--config", folder.file("glimpse.yaml"), "--max_model_len=2048"});
  ASSERT_NE(serving.port(), 0) << serving.log();
  const Reply reply = request(serving.port(), "GET", "/v1/models", "", {"authorization: Bearer two"});
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json().at("data").at(0).at("id"), "first");
  EXPECT_EQ(reply.json().at("data").at(0).at("max_model_len"), 2048);
  EXPECT_EQ(request(serving.port(), "GET", "/v1/models/second", "", {"authorization: Bearer one"}).status, 200);
}

TEST(Config, MistakesNameFileAndLine) {
  const TemporaryFolder folder;
  const auto expect = [&folder](const std::string& text, const std::string& words) {
    folder.write("glimpse.yaml", text);
    const auto result = run_glimpse({"serve", "--config=" + folder.file("glimpse.yaml")});
    EXPECT_EQ(result.exit_code, 2) << text;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find("glimpse.yaml" + words), std::string::npos) << text << result.err;
  };
  expect("port: 0\n\nmax-model-length: 5\n", ":3: unknown key \"max-model-length\"; did you mean max-model-len?");
  expect("port: [1, 2]\n", ":1: \"port\" takes one value, not a list");
  expect("port: 0\nenforce-eager: 3\n", ":2: \"enforce-eager\" takes true or false");
  expect("host:\n", ":1: \"host\" has no value");
  expect("port: 0\nport: 1\n", ":2: \"port\" is given twice");
  expect("port: 0\nhost: [a\n", ":");
  expect("- port\n", ":1: a map of flags and values is expected");
  expect("config: other.yaml\n", ":1: a configuration file cannot name another");
  expect("port: 0\nmax-waiting: many\n", ":2: --max-waiting: ");
  expect("port: 0\nanswer-cache-bytes: -5\n", ":2: --answer-cache-bytes: -5 is negative");
  expect("port: abc\n", ":1: ");
  expect("rate-limit: inf\n", ":1: --rate-limit: inf is not a number");
  expect("mm-processor-cache-gb: nan\n", ":1: --mm-processor-cache-gb: nan is not a number");
  expect("gpu-memory-utilization: nan\n", ":1: --gpu-memory-utilization: nan is not a number");
  expect("api-key: [[a]]\n", ":1: \"api-key\" takes a list of plain values");
  expect("mm-processor-kwargs: &a {x: [*a, *a]}\n", ":1: ");
  const auto missing = run_glimpse({"serve", "--config", folder.file("none.yaml")});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_NE(missing.err.find("none.yaml"), std::string::npos);
}

}  // namespace
}  // namespace glimpse

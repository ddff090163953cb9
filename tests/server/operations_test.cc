// Keys, limits, drain, files, drafts, metrics, traces: what operators and other routes rely on.

#include <gtest/gtest.h>

#include <future>
#include <set>

#include "tests/server/rig.h"

namespace glimpse {
namespace {

TEST(Operations, EveryRouteButHealthNeedsAKey) {
  RigOptions options;
  options.server.api_keys = {"first", "second"};
  const Rig rig(options);
  for (const char* path : {"/healthz", "/health", "/ready", "/version", "/ping", "/"}) {
    EXPECT_EQ(request(rig.port(), "GET", path).status, 200) << path;
  }
  for (const char* path :
       {"/v1/models", "/v1/models/mini", "/metrics", "/load", "/v1/files", "/v1/files/a", "/v1/traces/a", "/nothing"}) {
    const Reply reply = request(rig.port(), "GET", path);
    EXPECT_EQ(reply.status, 401) << path;
    EXPECT_FALSE(reply.error_message().empty()) << path;
    EXPECT_NE(request(rig.port(), "GET", path, "", {"authorization: Bearer second"}).status, 401) << path;
  }
  for (const char* path :
       {"/v1/chat/completions", "/v1/completions", "/v1/files", "/v1/chat/drafts", "/tokenize", "/detokenize"}) {
    EXPECT_EQ(post_json(rig.port(), path, json::object{}).status, 401) << path;
  }
  for (const char* header : {"authorization: Bearer wrong", "authorization: Bearer ", "authorization: first",
                             "authorization: Basic first", "x-api-key: firs", "authorization: Bearer first,second"}) {
    EXPECT_EQ(request(rig.port(), "GET", "/v1/models", "", {header}).status, 401) << header;
  }
  EXPECT_EQ(request(rig.port(), "GET", "/v1/models", "", {"x-api-key: first"}).status, 200);
}

TEST(Operations, AnyKeyIsFineWhenNoneIsConfigured) {
  const Rig rig;
  EXPECT_EQ(request(rig.port(), "GET", "/v1/models", "", {"authorization: Bearer EMPTY"}).status, 200);
}

TEST(Operations, RateLimitPerKey) {
  RigOptions options;
  options.server.api_keys = {"a", "b"};
  options.server.rate_limit_per_minute = 60;
  options.server.rate_limit_burst = 3;
  const Rig rig(options);
  const auto ask = [&rig](const char* key) {
    return post_json(rig.port(), "/v1/chat/completions", chat_body("hi"),
                     {std::string("authorization: Bearer ") + key});
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask("a").status, 200);
  const Reply refused = ask("a");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.header("retry-after"), "1");
  EXPECT_EQ(ask("b").status, 200);
  EXPECT_EQ(request(rig.port(), "GET", "/v1/models", "", {"authorization: Bearer a"}).status, 200);
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  EXPECT_EQ(ask("a").status, 200);  // as retry-after said
}

TEST(Operations, DrainFinishesWhatRunsAndRefusesTheRest) {
  RigOptions options;
  options.script = R"([{"text": "one two three four", "per_token_ms": 60}])";
  Rig rig(options);
  Client running(rig.port());
  Client idle(rig.port());
  idle.send(wire("GET", "/healthz", ""));
  EXPECT_EQ(idle.reply().status, 200);
  Client late(rig.port());
  late.send("POST /v1/chat/completions HTTP/1.1\r\n");  // in the middle of its head
  running.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi", true))));
  ASSERT_TRUE(eventually([&] { return rig.engine().stats().num_running == 1; }));
  rig.drain();
  EXPECT_TRUE(idle.receive().empty()) << "an idle connection is closed";
  late.send("host: a\r\ncontent-length: 2\r\n\r\n{}");
  EXPECT_EQ(late.reply().status, 503);
  const Reply reply = running.reply();
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n")) << reply.body;
  EXPECT_TRUE(eventually([&] { return rig.drained(); }));
}

TEST(Operations, DrainCutsOffAtTheDeadline) {
  RigOptions options;
  options.script = R"([{"text": "word ", "repeat": 1000, "per_token_ms": 50}])";
  options.server.drain_timeout_ms = 300;
  Rig rig(options);
  Client running(rig.port());
  running.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi", true))));
  ASSERT_TRUE(eventually([&] { return rig.engine().stats().num_running == 1; }));
  rig.drain();
  EXPECT_TRUE(eventually([&] { return rig.drained(); }));
  EXPECT_TRUE(eventually([&] { return rig.engine().num_cancelled() == 1; }));
}

TEST(Operations, Cors) {
  RigOptions options;
  options.server.cors.origins = {"https://page.example"};
  const Rig rig(options);
  const Reply preflight = request(rig.port(), "OPTIONS", "/v1/chat/completions", "", {"origin: https://page.example"});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.header("access-control-allow-origin"), "https://page.example");
  EXPECT_EQ(request(rig.port(), "GET", "/v1/models", "", {"origin: https://other.example"})
                .header("access-control-allow-origin"),
            "");
}

TEST(Operations, MetricsHaveTheNamesThatOthersRead) {
  const Rig rig;
  EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", chat_body("hi")).status, 200);
  const Reply reply = request(rig.port(), "GET", "/metrics");
  EXPECT_EQ(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* name :
       {"vllm:num_requests_running{", "vllm:num_requests_waiting{", "vllm:kv_cache_usage_perc{",
        "vllm:prefix_cache_queries_total{", "vllm:prompt_tokens_total{", "vllm:generation_tokens_total{",
        "vllm:num_preemptions_total{", "vllm:request_success_total{", "vllm:time_to_first_token_seconds_bucket{",
        "vllm:inter_token_latency_seconds_bucket{", "vllm:e2e_request_latency_seconds_bucket{",
        "vllm:request_queue_time_seconds_bucket{", "vllm:request_prompt_tokens_bucket{",
        "vllm:iteration_tokens_total_bucket{", "vllm:cache_config_info{", "glimpse:span_seconds_bucket{",
        "glimpse:first_token_anomaly{", "http_requests_total{", "process_resident_memory_bytes{"}) {
    EXPECT_NE(reply.body.find(name), std::string::npos) << name;
  }
  EXPECT_NE(reply.body.find("finished_reason=\"stop\",model_name=\"mini\"} 1"), std::string::npos) << reply.body;
  // vLLM's bounds are all there.
  for (const char* bound : {"le=\"0.001\"", "le=\"0.25\"", "le=\"2560\""}) {
    EXPECT_NE(reply.body.find(bound), std::string::npos) << bound;
  }
}

TEST(Operations, TracesShowSpansAndSteps) {
  const Rig rig;
  const Reply answer = post_json(rig.port(), "/v1/chat/completions", chat_body("hi"), {"x-request-id: my-trace"});
  const std::string id(answer.json().at("id").as_string());
  for (const std::string& name : {id, std::string("my-trace")}) {
    const Reply trace = request(rig.port(), "GET", "/v1/traces/" + name);
    ASSERT_EQ(trace.status, 200);
    std::set<std::string> names;
    const json::value shown = trace.json();
    for (const json::value& event : shown.at("traceEvents").as_array()) {
      names.emplace(event.at("name").as_string());
    }
    for (const char* span : {"receive", "tokenize", "queue", "prefill", "stream"})
      EXPECT_TRUE(names.contains(span)) << span;
  }
  EXPECT_EQ(request(rig.port(), "GET", "/v1/traces/none").status, 404);
}

TEST(Operations, TheStepsOfATraceAreItsOwn) {
  RigOptions options;
  options.script = R"([{"text": "one two three four five", "per_token_ms": 60}])";
  const Rig rig(options);
  const Reply answer = post_json(rig.port(), "/v1/chat/completions", chat_body("hi"));
  const Reply trace = request(rig.port(), "GET", "/v1/traces/" + std::string(answer.json().at("id").as_string()));
  int steps = 0;
  const json::value shown = trace.json();
  for (const json::value& event : shown.at("traceEvents").as_array()) steps += event.at("name") == "step" ? 1 : 0;
  EXPECT_GE(steps, 4);
}

json::value gpu_of(const Rig& rig) {
  const json::value load = request(rig.port(), "GET", "/load").json();
  return load.as_object().contains("gpu") ? load.at("gpu") : json::value();
}

TEST(Operations, LoadShowsADeviceWhereThereIsOne) {
  EXPECT_EQ(gpu_of(Rig()), json::value());
  RigOptions options;
  options.engine.device = [] { return DeviceUsage{.memory_used = 3, .memory_total = 80}; };
  EXPECT_EQ(gpu_of(Rig(options)), (json::value{{"memory_used_bytes", 3}, {"memory_total_bytes", 80}}));
  options.engine.device = [] { return DeviceUsage{.memory_used = 3, .memory_total = 80, .load = 0.25}; };
  EXPECT_EQ(gpu_of(Rig(options)).at("load_percent").to_number<double>(), 25.0);
}

TEST(Operations, ADriverThatDoesNotAnswerHoldsUpNobodyElse) {
  std::promise<void> asked;
  std::promise<void> answer;
  RigOptions options;
  options.engine.device = [&asked, answered = answer.get_future().share()] {
    asked.set_value();  // throws if asked twice
    answered.wait();
    return DeviceUsage{.memory_used = 3, .memory_total = 80};
  };
  const Rig rig(options);
  auto first = std::async(std::launch::async, [&] { return gpu_of(rig); });
  asked.get_future().wait();
  EXPECT_EQ(request(rig.port(), "GET", "/healthz").status, 200);
  EXPECT_EQ(gpu_of(rig), json::value());
  answer.set_value();
  EXPECT_EQ(first.get().at("memory_used_bytes"), 3);
  EXPECT_EQ(gpu_of(rig).at("memory_used_bytes"), 3);
}

TEST(Operations, LoadAndTokenRoutes) {
  const Rig rig;
  EXPECT_EQ(request(rig.port(), "GET", "/load").json().at("server_load"), 0);
  const json::value tokens = post_json(rig.port(), "/tokenize", json::object{{"prompt", "Hello there"}}).json();
  EXPECT_GT(tokens.at("count").to_number<int>(), 0);
  const Reply text = post_json(rig.port(), "/detokenize", json::object{{"tokens", tokens.at("tokens")}});
  EXPECT_EQ(text.json().at("prompt"), "Hello there");
}

// Files ---------------------------------------------------------------------------------------------------------------

std::string multipart(std::string_view name, std::string_view filename, std::string_view bytes) {
  std::string body = "--xyz\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nvision\r\n--xyz\r\n";
  body.append("content-disposition: form-data; name=\"").append(name).append("\"; filename=\"").append(filename);
  return body.append("\"\r\ncontent-type: image/png\r\n\r\n").append(bytes).append("\r\n--xyz--\r\n");
}

TEST(Files, UploadListReadDelete) {
  Rig rig;
  const std::string png = sample_png();
  const Reply raw = request(rig.port(), "POST", "/v1/files?filename=a%20b.png", png, {"content-type: image/png"});
  ASSERT_EQ(raw.status, 200) << raw.body;
  const json::value file = raw.json();
  EXPECT_EQ(file.at("object"), "file");
  EXPECT_EQ(file.at("bytes"), png.size());
  EXPECT_EQ(file.at("width"), 224);
  EXPECT_EQ(file.at("filename"), "a b.png");
  EXPECT_EQ(file.at("image_tokens"), 64);
  const Reply parts = request(rig.port(), "POST", "/v1/files", multipart("file", "c.png", png),
                              {"content-type: multipart/form-data; boundary=xyz"});
  ASSERT_EQ(parts.status, 200) << parts.body;
  EXPECT_EQ(parts.json().at("sha256"), file.at("sha256"));
  EXPECT_EQ(parts.json().at("filename"), "c.png");
  EXPECT_EQ(request(rig.port(), "GET", "/v1/files").json().at("data").as_array().size(), 2u);
  const std::string path = "/v1/files/" + std::string(file.at("id").as_string());
  EXPECT_EQ(request(rig.port(), "GET", path + "/content").body, png);
  EXPECT_TRUE(eventually([&] { return request(rig.port(), "GET", path).json().at("status") == "processed"; }));
  EXPECT_EQ(request(rig.port(), "DELETE", path).json().at("deleted"), true);
  EXPECT_EQ(request(rig.port(), "GET", path).status, 404);
  EXPECT_EQ(rig.engine().stats().images_encoded, 1) << "one content, two files";
}

TEST(Files, AnotherKeysFileDoesNotExist) {
  RigOptions options;
  options.server.api_keys = {"alice", "bob"};
  const Rig rig(options);
  const Reply upload = request(rig.port(), "POST", "/v1/files", sample_png(),
                               {"content-type: image/png", "authorization: Bearer alice"});
  const std::string id(upload.json().at("id").as_string());
  const auto as = [&](const char* key, std::string_view method, const std::string& path) {
    return request(rig.port(), method, path, "", {std::string("authorization: Bearer ") + key}).status;
  };
  EXPECT_EQ(as("alice", "GET", "/v1/files/" + id), 200);
  EXPECT_EQ(as("bob", "GET", "/v1/files/" + id), 404);
  EXPECT_EQ(as("bob", "GET", "/v1/files/" + id + "/content"), 404);
  EXPECT_EQ(as("bob", "DELETE", "/v1/files/" + id), 404);
  json::array content = {json::object{{"type", "file"}, {"file", json::object{{"file_id", id}}}}};
  const json::object body = {{"messages", json::array{json::object{{"role", "user"}, {"content", content}}}}};
  EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", body, {"authorization: Bearer bob"}).status, 400);
  EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", body, {"authorization: Bearer alice"}).status, 200);
}

TEST(Files, BadUploads) {
  const Rig rig;
  const auto upload = [&rig](std::string_view body, const std::string& type) {
    return request(rig.port(), "POST", "/v1/files", body, {"content-type: " + type});
  };
  EXPECT_EQ(upload("", "image/png").status, 400);
  EXPECT_EQ(upload("not a picture", "image/png").status, 400);
  EXPECT_EQ(upload("{}", "application/json").status, 415);
  EXPECT_EQ(upload("garbage", "multipart/form-data; boundary=xyz").status, 400);
  EXPECT_EQ(upload(multipart("other", "a.png", sample_png()), "multipart/form-data; boundary=xyz").status, 400);
  const std::string whole = multipart("file", "a.png", sample_png());
  for (size_t cut = 0; cut < whole.size(); cut += 997) {
    EXPECT_EQ(upload(whole.substr(0, cut), "multipart/form-data; boundary=xyz").status, 400) << cut;
  }
  EXPECT_EQ(upload(whole, "multipart/form-data").status, 415);
}

TEST(Files, OldOnesMakeRoom) {
  RigOptions options;
  options.server.files.max_count = 3;
  const Rig rig(options);
  std::string first;
  for (int i = 0; i < 5; ++i) {
    const Reply upload = request(rig.port(), "POST", "/v1/files", sample_png(), {"content-type: image/png"});
    ASSERT_EQ(upload.status, 200);
    if (i == 0) first = upload.json().at("id").as_string();
  }
  EXPECT_EQ(request(rig.port(), "GET", "/v1/files").json().at("data").as_array().size(), 3u);
  EXPECT_EQ(request(rig.port(), "GET", "/v1/files/" + first).status, 404);
}

TEST(Files, MultipartChatBringsItsPictures) {
  Rig rig;
  json::array content = {json::object{{"type", "file"}, {"file", json::object{{"file_id", "cat"}}}},
                         json::object{{"type", "text"}, {"text", "what?"}}};
  const json::object chat = {{"messages", json::array{json::object{{"role", "user"}, {"content", content}}}}};
  std::string body = "--xyz\r\ncontent-disposition: form-data; name=\"request\"\r\n\r\n" + json::serialize(chat) +
                     "\r\n" + multipart("cat", "cat.png", sample_png());
  const Reply reply =
      request(rig.port(), "POST", "/v1/chat/completions", body, {"content-type: multipart/form-data; boundary=xyz"});
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(rig.engine().seen().front().images.size(), 1u);
}

TEST(Drafts, AreBoundedPerClient) {
  RigOptions options;
  options.engine.max_running = 0;  // nothing ever starts
  options.server.max_drafts_per_owner = 2;
  Rig rig(options);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<Client>(rig.port()));
    const std::string text = "draft number " + std::to_string(i) + " with some more words behind it, to be typed on ";
    clients.back()->send(wire("POST", "/v1/chat/drafts", json::serialize(chat_body(text))));
    ASSERT_TRUE(eventually([&] { return rig.engine().seen().size() == static_cast<size_t>(i + 1); }));
  }
  EXPECT_EQ(clients[0]->reply().json().at("status"), "cancelled");
  EXPECT_EQ(clients[1]->reply().json().at("status"), "cancelled");
  EXPECT_TRUE(eventually([&] { return rig.engine().num_cancelled() == 2; }));
  clients.clear();
  EXPECT_TRUE(eventually([&] { return rig.engine().num_cancelled() == 4; })) << "clients that left";
}

TEST(Drafts, TheQuestionFindsItsPrefix) {
  Rig rig;
  const std::string typed = "Please describe the weather of the last seven days in as many words as you like and ";
  const Reply draft = post_json(rig.port(), "/v1/chat/drafts", chat_body(typed));
  ASSERT_EQ(draft.status, 200) << draft.body;
  EXPECT_EQ(draft.json().at("status"), "computed");
  const Reply answer = post_json(rig.port(), "/v1/chat/completions", chat_body(typed + "more."));
  EXPECT_GT(answer.json().at("usage").at("prompt_tokens_details").at("cached_tokens").to_number<int>(), 0);
}

}  // namespace
}  // namespace glimpse

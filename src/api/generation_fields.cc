#include "api/generation_fields.h"

#include <algorithm>
#include <charconv>

#include "api/constraint_fields.h"
#include "api/fields.h"
#include "base/quote.h"

namespace glimpse {

namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStops = 64;
constexpr size_t kMaxStopBytes = 1024;
constexpr size_t kMaxListedTokens = 1 << 18;
constexpr size_t kMaxSaltBytes = 128;
constexpr size_t kMaxNameBytes = 1024;

// What would change the answer and is not done: refused rather than silently left out.
ApiStatus refuse_unsupported(const json::object& body) {
  const auto asks = [&](std::string_view key) {
    const json::value* value = find(body, key);
    if (value == nullptr || *value == false) return false;
    if (value->is_array()) return !value->get_array().empty();
    if (value->is_object()) return !value->get_object().empty();
    return !value->is_string() || !value->get_string().empty();
  };
  for (const std::string_view key :
       {"use_beam_search", "prompt_logprobs", "bad_words", "truncate_prompt_tokens", "chat_template",
        "mm_processor_kwargs", "media_io_kwargs", "thinking_token_budget", "kv_transfer_params", "suffix"}) {
    if (asks(key)) return not_supported(key, std::string(key) + " is not supported by this server");
  }
  return kApiOk;
}

ApiStatus read_number(const json::object& body, std::string_view key, float& out) {
  ASSIGN_OR_RETURN(const auto value, optional_number(body, key));
  if (value) out = static_cast<float>(*value);
  return kApiOk;
}

ApiStatus read_stop(const json::object& body, SamplingParams& sampling) {
  const json::value* stop = find(body, "stop");
  if (stop == nullptr) return kApiOk;
  const auto add = [&](const json::value& value) -> ApiStatus {
    if (!value.is_string()) return invalid_request("stop", "stop must be a string or a list of strings");
    const json::string& text = value.get_string();
    if (text.empty() || text.size() > kMaxStopBytes) {
      return invalid_request("stop", "a stop string has " + std::to_string(text.size()) + " bytes; it must have 1 to " +
                                         std::to_string(kMaxStopBytes));
    }
    sampling.stop.emplace_back(text);
    return kApiOk;
  };
  if (!stop->is_array()) return add(*stop);
  if (stop->get_array().size() > kMaxStops) {
    return invalid_request("stop", "stop has " + std::to_string(stop->get_array().size()) + " strings, at most " +
                                       std::to_string(kMaxStops) + " are allowed");
  }
  for (const json::value& value : stop->get_array()) RETURN_IF_ERROR(add(value));
  return kApiOk;
}

ApiResult<int32_t> vocabulary_id(const json::value& value, std::string_view key, int64_t vocab_size) {
  if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() >= vocab_size) {
    return invalid_request(key,
                           std::string(key) + " must hold token ids between 0 and " + std::to_string(vocab_size - 1));
  }
  return static_cast<int32_t>(value.get_int64());
}

ApiStatus read_ids(const json::object& body, std::string_view key, int64_t vocab_size, size_t most,
                   std::vector<int32_t>& out) {
  ASSIGN_OR_RETURN(const json::array* list, optional_array(body, key));
  if (list == nullptr) return kApiOk;
  if (list->size() > most) {
    return invalid_request(key, std::string(key) + " has " + std::to_string(list->size()) + " ids, at most " +
                                    std::to_string(most) + " are allowed");
  }
  for (const json::value& value : *list) {
    ASSIGN_OR_RETURN(const int32_t id, vocabulary_id(value, key, vocab_size));
    out.push_back(id);
  }
  return kApiOk;
}

// {"50256": -100}: ids are spelled as strings.
ApiStatus read_logit_bias(const json::object& body, int64_t vocab_size, SamplingParams& sampling) {
  ASSIGN_OR_RETURN(const json::object* bias, optional_object(body, "logit_bias"));
  if (bias == nullptr) return kApiOk;
  if (bias->size() > kMaxListedTokens) return invalid_request("logit_bias", "logit_bias has too many entries");
  for (const auto& [key, value] : *bias) {
    int32_t id = -1;
    const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (failed != std::errc() || end != key.data() + key.size() || id < 0 || id >= vocab_size) {
      return invalid_request("logit_bias", "logit_bias: " + in_quotes(key, 24) + " is not a token id between 0 and " +
                                               std::to_string(vocab_size - 1));
    }
    const double amount = value.is_number() ? value.to_number<double>() : 1000;
    if (!(amount >= -100 && amount <= 100)) {
      return invalid_request("logit_bias", "logit_bias: the value of token " + std::to_string(id) +
                                               " must be a number between -100 and 100");
    }
    sampling.logit_bias.emplace_back(id, static_cast<float>(amount));
  }
  return kApiOk;
}

ApiStatus read_sampling(const json::object& body, const ApiModel& model, SamplingParams& sampling) {
  RETURN_IF_ERROR(read_number(body, "temperature", sampling.temperature));
  RETURN_IF_ERROR(read_number(body, "top_p", sampling.top_p));
  RETURN_IF_ERROR(read_number(body, "min_p", sampling.min_p));
  RETURN_IF_ERROR(read_number(body, "repetition_penalty", sampling.repetition_penalty));
  RETURN_IF_ERROR(read_number(body, "frequency_penalty", sampling.frequency_penalty));
  RETURN_IF_ERROR(read_number(body, "presence_penalty", sampling.presence_penalty));
  ASSIGN_OR_RETURN(const auto top_k, optional_int(body, "top_k", -1, kMaxInt32));
  if (top_k) sampling.top_k = static_cast<int32_t>(std::max<int64_t>(*top_k, 0));
  ASSIGN_OR_RETURN(const auto do_sample, optional_bool(body, "do_sample"));
  // As vLLM: what is nearly zero is meant as zero. Penalties still act on the choice of the likeliest.
  if (do_sample == false || (sampling.temperature >= 0 && sampling.temperature < 1e-5f)) sampling.temperature = 0;
  ASSIGN_OR_RETURN(const auto seed, optional_int(body, "seed", std::numeric_limits<int64_t>::min(),
                                                 std::numeric_limits<int64_t>::max()));
  if (seed) sampling.seed = static_cast<uint64_t>(*seed);
  ASSIGN_OR_RETURN(const auto min_tokens, optional_int(body, "min_tokens", 0, kMaxInt32));
  if (min_tokens) sampling.min_tokens = static_cast<int32_t>(*min_tokens);
  RETURN_IF_ERROR(read_stop(body, sampling));
  RETURN_IF_ERROR(read_ids(body, "stop_token_ids", model.vocab_size(), 256, sampling.stop_token_ids));
  RETURN_IF_ERROR(read_logit_bias(body, model.vocab_size(), sampling));
  const Status valid = validate(sampling, model.vocab_size());
  if (valid) return kApiOk;
  const std::string& message = valid.error().message;  // begins with the field's name
  return to_api_error(valid.error(), std::string_view(message).substr(0, message.find(' ')));
}

ApiStatus read_stream(const json::object& body, GenerationFields& fields) {
  ASSIGN_OR_RETURN(const auto stream, optional_bool(body, "stream"));
  fields.stream = stream.value_or(false);
  ASSIGN_OR_RETURN(const json::object* options, optional_object(body, "stream_options"));
  if (options == nullptr || !fields.stream) return kApiOk;
  for (const auto& [key, flag] : {std::pair{"include_usage", &fields.include_usage},
                                  std::pair{"continuous_usage_stats", &fields.continuous_usage_stats}}) {
    const auto value = optional_bool(*options, key);
    if (!value) return in_field("stream_options", value.error());
    *flag = value->value_or(false);
  }
  fields.continuous_usage_stats = fields.continuous_usage_stats && fields.include_usage;
  return kApiOk;
}

ApiStatus read_flag(const json::object& body, std::string_view key, bool& out) {
  ASSIGN_OR_RETURN(const auto value, optional_bool(body, key));
  if (value) out = *value;
  return kApiOk;
}

bool plain_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  });
}

}  // namespace

ApiResult<std::string> parse_model_name(const json::object& body, const ApiModel& model) {
  ASSIGN_OR_RETURN(const auto name, optional_string(body, "model", kMaxNameBytes));
  if (!model.serves(name.value_or(""))) return model_not_found(*name);
  return name && !name->empty() ? *name : model.name();
}

ApiResult<GenerationFields> parse_generation_fields(const json::object& body, const ApiModel& model) {
  GenerationFields fields;
  ASSIGN_OR_RETURN(fields.model, parse_model_name(body, model));
  RETURN_IF_ERROR(refuse_unsupported(body));
  fields.sampling = model.default_sampling();
  RETURN_IF_ERROR(read_sampling(body, model, fields.sampling));

  fields.max_tokens = model.default_max_tokens();
  for (const std::string_view key : {"max_tokens", "max_completion_tokens"}) {  // the second wins
    ASSIGN_OR_RETURN(const auto most, optional_int(body, key, 1, int64_t{1} << 53));
    if (most) fields.max_tokens = static_cast<int32_t>(std::min(*most, kMaxInt32));
  }
  ASSIGN_OR_RETURN(const auto n, optional_int(body, "n", 1, model.options().max_choices));
  fields.n = static_cast<int>(n.value_or(1));
  ASSIGN_OR_RETURN(const auto best_of, optional_int(body, "best_of", 0, kMaxInt32));
  if (best_of && *best_of > fields.n) return not_supported("best_of", "best_of larger than n is not supported");

  RETURN_IF_ERROR(read_stream(body, fields));
  RETURN_IF_ERROR(read_flag(body, "ignore_eos", fields.ignore_eos));
  RETURN_IF_ERROR(read_flag(body, "include_stop_str_in_output", fields.include_stop_str_in_output));
  RETURN_IF_ERROR(read_flag(body, "skip_special_tokens", fields.skip_special_tokens));
  RETURN_IF_ERROR(read_flag(body, "return_token_ids", fields.return_token_ids));
  RETURN_IF_ERROR(read_flag(body, "return_tokens_as_token_ids", fields.return_tokens_as_token_ids));

  ASSIGN_OR_RETURN(const auto priority, optional_int(body, "priority", -kMaxInt32, kMaxInt32));
  if (priority.value_or(0) > 0) fields.priority = Priority::kBackground;  // vLLM: lower runs first, 0 is usual
  ASSIGN_OR_RETURN(const auto salt, optional_string(body, "cache_salt", kMaxSaltBytes));
  if (salt && salt->find_first_of(std::string_view("@/\\\0", 4)) != std::string::npos) {
    return invalid_request("cache_salt", "cache_salt must not contain @, /, \\ or NUL");
  }
  fields.cache_salt = salt.value_or("");
  ASSIGN_OR_RETURN(const auto id, optional_string(body, "request_id", kMaxNameBytes));
  if (id && plain_id(*id)) fields.request_id = *id;

  ASSIGN_OR_RETURN(fields.constraint, parse_constraint(body));
  RETURN_IF_ERROR(read_ids(body, "allowed_token_ids", model.vocab_size(), kMaxListedTokens, fields.allowed_token_ids));
  if (!fields.allowed_token_ids.empty() && fields.constraint) {
    return invalid_request("allowed_token_ids", "allowed_token_ids and a response format exclude each other");
  }
  return fields;
}

}  // namespace glimpse

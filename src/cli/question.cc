#include "cli/question.h"

#include <algorithm>

#include "base/mmap.h"
#include "processor/image_prompt.h"
#include "processor/output_parser.h"
#include "sampling/stop.h"
#include "tokenizer/detokenizer.h"

namespace glimpse {

Result<Answer> Asker::ask(const Question& question, LatencyAccount& account, const TextCallback& on_text) {
  if (pictures_.size() < question.images.size()) pictures_.resize(question.images.size());
  std::vector<PreparedImage> images;
  for (size_t i = 0; i < question.images.size(); ++i) {
    RETURN_IF_ERROR(prepare_picture(question.images[i], pictures_[i], account));
    images.push_back(pictures_[i].prepared);
  }

  int64_t begin = clock_.now_ns();
  ASSIGN_OR_RETURN(const Prompt prompt, build_prompt(question, images));
  account.record(Span::kTokenize, begin, clock_.now_ns());

  Answer answer;
  answer.prompt_ids = prompt.token_ids;
  Detokenizer detokenizer(source_.tokenizer);
  OutputParser parser({.strip_answer_tags = true});
  StopMatcher stop(question.sampling.stop);
  const auto pass_on = [&](const OutputPiece& piece) {
    if (!piece.reasoning.empty()) on_text(piece.reasoning, true);
    if (!piece.answer.empty()) on_text(piece.answer, false);
    answer.reasoning += piece.reasoning;
    answer.text += piece.answer;
  };
  const GenerateRequest request{.prompt = &prompt,
                                .images = images,
                                .sampling = question.sampling,
                                .stop_token_ids = question.ignore_eos ? std::vector<int32_t>{} : source_.eos_token_ids,
                                .max_tokens = question.max_tokens};
  ASSIGN_OR_RETURN(const GenerateResult result,
                   generator_.generate(request, account, [&](const SampledToken& token, std::span<const float> logits) {
                     const int64_t start = clock_.now_ns();
                     if (question.keep_logits) answer.logits.insert(answer.logits.end(), logits.begin(), logits.end());
                     if (question.sampling.logprobs >= 0) answer.tokens.push_back(token);
                     const auto id = source_.to_tokenizer_id(token.id);
                     const std::string unknown = id ? std::string() : "⟨" + std::to_string(token.id) + "⟩";
                     const auto matched = stop.push(id ? detokenizer.push(*id) : std::string_view(unknown));
                     pass_on(parser.push(matched.text));
                     account.record(Span::kStream, start, clock_.now_ns());
                     return !matched.stopped;
                   }));
  begin = clock_.now_ns();
  if (!stop.stopped()) {
    pass_on(parser.push(stop.push(detokenizer.finish()).text));
    pass_on(parser.push(stop.finish()));
  }
  pass_on(parser.finish());
  answer.output_ids = result.output_ids;
  answer.reason = result.reason;
  account.record(Span::kStream, begin, clock_.now_ns());
  return answer;
}

Status Asker::prepare_picture(const std::string& path, Picture& picture, LatencyAccount& account) {
  const int64_t received = clock_.now_ns();
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  const int64_t start = clock_.now_ns();
  account.record(Span::kReceive, received, start);
  ASSIGN_OR_RETURN(const DType dtype, runner_.prepare_vision());
  const PatchFormat format{.dtype = dtype == DType::kF32 ? PatchDtype::kFloat32 : PatchDtype::kBfloat16,
                           .frames = PatchFrames::kOneFrame};
  auto decode_ns = make_pixels(file.bytes(), format, picture);
  if (!decode_ns) return std::move(decode_ns).error().in(path);
  const int64_t end = clock_.now_ns();
  const int64_t decoded = std::min(start + *decode_ns, end);
  account.record(Span::kDecodeImage, start, decoded);
  account.record(Span::kPreprocess, decoded, end);
  return {};
}

// Patches, or the block that the device makes them of; returns how long decoding took.
Result<int64_t> Asker::make_pixels(std::span<const std::byte> encoded, PatchFormat format, Picture& picture) {
  ASSIGN_OR_RETURN(const ImagePlan plan, plan_image(encoded, source_.image, format));
  const auto& thw = plan.grid.grid_thw;
  picture.prepared.grid = {static_cast<int32_t>(thw[0]), static_cast<int32_t>(thw[1]), static_cast<int32_t>(thw[2])};
  if (!runner_.cuts_pictures() || !fits_block(plan)) {
    ASSIGN_OR_RETURN(const auto processed, preprocess(encoded, source_.image, format, picture.scratch));
    picture.prepared.pixels = processed.pixel_values.data();
    return processed.decode_ns;
  }
  picture.block = plan_block(plan, source_.image, picture.scratch);
  if (picture.memory.bytes() < picture.block.bytes) {
    ASSIGN_OR_RETURN(picture.memory, runner_.allocate_host(picture.block.bytes));
  }
  picture.prepared.pixels = {picture.memory.data(), &picture.block};
  return fill_block(encoded, plan, picture.block, source_.image, picture.scratch,
                    {picture.memory.as<std::byte>(), picture.block.bytes});
}

Result<Prompt> Asker::build_prompt(const Question& question, std::span<const PreparedImage> images) {
  std::vector<GridThw> grids;
  for (const PreparedImage& image : images) grids.push_back(image.grid);
  if (question.prompt_ids) return make_prompt(source_.config, *question.prompt_ids, std::move(grids));

  json::array content;
  for (size_t i = 0; i < images.size(); ++i) content.push_back(json::object{{"type", "image"}});
  content.push_back(json::object{{"type", "text"}, {"text", question.text}});
  const json::array messages = {json::object{{"role", "user"}, {"content", std::move(content)}}};
  RenderPromptOptions options;
  options.enable_thinking = question.think;
  ASSIGN_OR_RETURN(const RenderedPrompt rendered, source_.chat_template.render(messages, nullptr, options));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, source_.tokenizer.encode(rendered.text, rendered.untrusted));
  source_.to_model_ids(ids);

  const auto merge = static_cast<int32_t>(source_.config.vision.spatial_merge_size);
  std::vector<int64_t> counts;
  for (const GridThw& grid : grids) counts.push_back(grid.num_tokens(merge));
  ASSIGN_OR_RETURN(ExpandedPrompt expanded,
                   expand_images(ids, static_cast<int32_t>(source_.config.image_token_id), counts,
                                 static_cast<size_t>(runner_.options().max_model_len)));
  return make_prompt(source_.config, std::move(expanded.ids), std::move(grids));
}

}  // namespace glimpse

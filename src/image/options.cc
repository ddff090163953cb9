#include "image/options.h"

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

namespace glimpse {

namespace {

// A product of frames, height and width beyond this is a broken file, not a big picture.
constexpr int64_t kMaxPixelsBound = int64_t{1} << 30;

Error bad_field(std::string_view field, std::string_view reason) {
  return {ErrorCode::kInvalidData, "field \"" + std::string(field) + "\" " + std::string(reason)};
}

Result<int64_t> get_bounded(const json::object& object, std::string_view key, int64_t fallback, int64_t low,
                            int64_t high) {
  ASSIGN_OR_RETURN(const int64_t value, get_int(object, key, fallback));
  if (value < low || value > high) {
    return bad_field(
        key, "is " + std::to_string(value) + ", outside " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

Status read_three(const json::object& object, std::string_view key, bool positive, std::array<float, 3>& out) {
  const json::value* value = find(object, key);
  if (value == nullptr) return {};
  if (!value->is_array() || value->get_array().size() != 3) return bad_field(key, "must be a list of 3 numbers");
  for (size_t i = 0; i < 3; ++i) {
    const json::value& item = value->get_array()[i];
    if (!item.is_number()) return bad_field(key, "must be a list of 3 numbers");
    const double number = item.to_number<double>();
    const std::string where = "[" + std::to_string(i) + "] is " + std::to_string(number);
    if (!std::isfinite(number) || std::fabs(number) > 1e6) return bad_field(key, where + ", not a usable number");
    // What is divided by must stay normal in fp32.
    if (positive && number < 1e-6) return bad_field(key, where + ", but must be positive");
    out[i] = static_cast<float>(number);
  }
  return {};
}

Status read_size(const json::object& object, ImageOptions& options) {
  const json::value* size = find(object, "size");
  const bool modern = size != nullptr;
  if (modern && !size->is_object()) return bad_field("size", "must be an object with shortest_edge and longest_edge");
  const json::object& source = modern ? size->get_object() : object;
  const char* min_key = modern ? "shortest_edge" : "min_pixels";
  const char* max_key = modern ? "longest_edge" : "max_pixels";
  ASSIGN_OR_RETURN(options.min_pixels, get_bounded(source, min_key, options.min_pixels, 1, kMaxPixelsBound));
  ASSIGN_OR_RETURN(options.max_pixels, get_bounded(source, max_key, options.max_pixels, 1, kMaxPixelsBound));
  if (options.min_pixels > options.max_pixels) {
    return bad_field(min_key, "is " + std::to_string(options.min_pixels) + ", above " + max_key + " " +
                                  std::to_string(options.max_pixels));
  }
  return {};
}

// Names of the family: Glm4vImageProcessor and Glm46VImageProcessor, bare (torchvision since transformers v5), with
// "Fast" (torchvision) or with "Pil". Other processors do other arithmetic, so their names are refused.
Result<Resampler> read_resampler(const json::object& object) {
  ASSIGN_OR_RETURN(const std::string name, get_string(object, "image_processor_type", "Glm4vImageProcessor"));
  for (const std::string_view base : {"Glm4vImageProcessor", "Glm46VImageProcessor"}) {
    if (!name.starts_with(base)) continue;
    const std::string_view rest = std::string_view(name).substr(base.size());
    if (rest.empty() || rest == "Fast") return Resampler::kTorchvision;
    if (rest == "Pil") return Resampler::kPillow;
  }
  return Error{ErrorCode::kUnsupported, "field \"image_processor_type\" is \"" + name.substr(0, 60) +
                                            "\", not a Glm4vImageProcessor or Glm46VImageProcessor"};
}

}  // namespace

Result<ImageOptions> parse_image_options(const json::object& preprocessor_config) {
  const json::object& config = preprocessor_config;
  ImageOptions options;
  ASSIGN_OR_RETURN(options.resampler, read_resampler(config));
  RETURN_IF_ERROR(read_size(config, options));
  ASSIGN_OR_RETURN(const int64_t patch_size, get_bounded(config, "patch_size", options.patch_size, 1, 256));
  ASSIGN_OR_RETURN(const int64_t frames,
                   get_bounded(config, "temporal_patch_size", options.temporal_patch_size, 1, 16));
  ASSIGN_OR_RETURN(const int64_t merge_size, get_bounded(config, "merge_size", options.merge_size, 1, 16));
  options.patch_size = static_cast<int>(patch_size);
  options.temporal_patch_size = static_cast<int>(frames);
  options.merge_size = static_cast<int>(merge_size);
  RETURN_IF_ERROR(read_three(config, "image_mean", false, options.image_mean));
  RETURN_IF_ERROR(read_three(config, "image_std", true, options.image_std));
  ASSIGN_OR_RETURN(options.rescale_factor, get_double(config, "rescale_factor", options.rescale_factor));
  if (options.rescale_factor < 1e-9 || options.rescale_factor > 1e9) {
    return bad_field("rescale_factor", "is " + std::to_string(options.rescale_factor) + ", not a usable number");
  }
  ASSIGN_OR_RETURN(options.do_resize, get_bool(config, "do_resize", options.do_resize));
  ASSIGN_OR_RETURN(options.do_rescale, get_bool(config, "do_rescale", options.do_rescale));
  ASSIGN_OR_RETURN(options.do_normalize, get_bool(config, "do_normalize", options.do_normalize));
  ASSIGN_OR_RETURN(const int64_t resample, get_int(config, "resample", 3));
  if (resample != 3) {
    return Error{ErrorCode::kUnsupported,
                 "field \"resample\" is " + std::to_string(resample) + "; only 3 (bicubic) is supported"};
  }
  return options;
}

}  // namespace glimpse

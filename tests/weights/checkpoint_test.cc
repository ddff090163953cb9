#include "weights/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>

#include "tests/weights/fixtures.h"
#include "weights/names.h"

namespace glimpse {
namespace {

// A file of one-element U8 tensors.
std::string shard(const std::vector<std::string>& names) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    header += (i > 0 ? ",\"" : "\"") + names[i] + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
              std::to_string(i) + "," + std::to_string(i + 1) + "]}";
  }
  return safetensors_file(header + "}", std::string(names.size(), 'x'));
}

std::string index_of(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string text;
  for (const auto& [name, file] : entries) {
    if (!text.empty()) text += ',';
    text.append("\"").append(name).append("\":\"").append(file).append("\"");
  }
  return R"({"metadata":{},"weight_map":{)" + text + "}}";
}

void expect_error(const Result<Checkpoint>& result, ErrorCode code, const std::string& part) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST(Checkpoint, ReadsASingleFile) {
  TempDirectory dir;
  dir.write("model.safetensors", shard({"lm_head.weight", "visual.x"}));
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  ASSERT_EQ(checkpoint->tensors().size(), 2U);
  EXPECT_EQ(checkpoint->tensors()[0].name, "lm_head.weight");
  EXPECT_EQ(checkpoint->tensors()[1].name, "model.visual.x");
  EXPECT_EQ(checkpoint->tensors()[1].file, dir.path("model.safetensors"));
  EXPECT_EQ(checkpoint->find("visual.x"), nullptr);
}

TEST(Checkpoint, ReadsShardsFromMemory) {
  const std::string a = shard({"a"});
  const std::string b = shard({"b", "c"});
  const std::string index = index_of({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}, {"c", "s2.safetensors"}});
  const FileSet files = FileSet::from_memory("(built-in)", {{"s1.safetensors", as_bytes(a)},
                                                            {"s2.safetensors", as_bytes(b)},
                                                            {"model.safetensors.index.json", as_bytes(index)}});
  const auto checkpoint = Checkpoint::open(files);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors().size(), 3U);
  const auto tensor = checkpoint->get({"b", {1}});
  ASSERT_TRUE(tensor);
  EXPECT_EQ(tensor->bytes().data(), as_bytes(b).data() + b.size() - 2);
  tensor->drop();  // nothing to give back, nothing breaks
}

TEST(Checkpoint, NamesWhatIsMissing) {
  TempDirectory dir;
  expect_error(Checkpoint::open(dir.path("nowhere")), ErrorCode::kNotFound, "nowhere: no such directory");
  expect_error(Checkpoint::open(dir.path()), ErrorCode::kNotFound, "neither model.safetensors nor");
  dir.write("model.safetensors.index.json", index_of({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}}));
  dir.write("s1.safetensors", shard({"a"}));
  expect_error(Checkpoint::open(dir.path()), ErrorCode::kNotFound, "s2.safetensors: the shard is missing");
  dir.write("s2.safetensors", shard({"other"}));
  expect_error(Checkpoint::open(dir.path()), ErrorCode::kInvalidData,
               "s2.safetensors: tensor \"b\" is not in the file");
}

TEST(Checkpoint, RefusesABadIndex) {
  TempDirectory dir;
  dir.write("s1.safetensors", shard({"a"}));
  const auto with_index = [&](const std::string& text) {
    dir.write("model.safetensors.index.json", text);
    return Checkpoint::open(dir.path());
  };
  expect_error(with_index(""), ErrorCode::kInvalidData, "index.json: not valid JSON");
  expect_error(with_index("[]"), ErrorCode::kInvalidData, "must be an object");
  expect_error(with_index("{}"), ErrorCode::kInvalidData, "\"weight_map\" must be an object");
  expect_error(with_index(R"({"weight_map":{}})"), ErrorCode::kInvalidData, "\"weight_map\" is empty");
  expect_error(with_index(R"({"weight_map":{"a":3}})"), ErrorCode::kInvalidData, "tensor \"a\" must name a file");
  for (const char* evil : {"../s1.safetensors", "/etc/passwd", "a/../s1.safetensors", "..", ".", "", "a\\\\b"}) {
    expect_error(with_index(index_of({{"a", evil}})), evil[0] == '\0' ? ErrorCode::kNotFound : ErrorCode::kInvalidData,
                 evil[0] == '\0' ? "missing" : "not a plain file name");
  }
  expect_error(with_index(index_of({{"a", "s1\\u0000.safetensors"}})), ErrorCode::kNotFound, "the shard is missing");
}

TEST(Checkpoint, RefusesTheSameTensorTwice) {
  TempDirectory dir;
  dir.write("model.safetensors", shard({"model.visual.x", "visual.x"}));
  expect_error(Checkpoint::open(dir.path()), ErrorCode::kInvalidData, "tensor \"model.visual.x\" is there twice");
}

TEST(Checkpoint, BrokenAndUnreadableFilesAreNamed) {
  TempDirectory dir;
  dir.write("model.safetensors", shard({"a"}).substr(0, 20));
  expect_error(Checkpoint::open(dir.path()), ErrorCode::kInvalidData, "model.safetensors: the header claims");
  std::filesystem::remove(dir.path("model.safetensors"));
  std::filesystem::create_directory(dir.path("model.safetensors"));
  expect_error(Checkpoint::open(dir.path()), ErrorCode::kInvalidData, "model.safetensors: not a regular file");
  dir.write("file", "x");
  expect_error(Checkpoint::open(dir.path("file")), ErrorCode::kInvalidData, "file: not a directory");
}

TEST(Checkpoint, ChecksShapes) {
  const std::string file = shard({"a"});
  const auto checkpoint = Checkpoint::open(FileSet::from_memory("m", {{"model.safetensors", as_bytes(file)}}));
  ASSERT_TRUE(checkpoint);
  const auto wrong = checkpoint->get({"a", {2, 3}});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, "m/model.safetensors: tensor \"a\" has shape [1], the config asks for [2,3]");
  const auto missing = checkpoint->get({"b", {1}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message, "m: tensor \"b\" is missing");
  float out = 0;
  const auto read = checkpoint->get({"a", {1}})->read_rows(0, 1, std::span(&out, 1));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kUnsupported);
}

TEST(Checkpoint, ReadsRowsOfEachDtype) {
  // One odd byte in front, so that nothing is aligned.
  const float values[6] = {1, -2, 0.5, 3, -0.25, 65504};
  std::string data = "x";
  data.append(reinterpret_cast<const char*>(values), sizeof values);
  for (const float v : values) {
    const uint16_t bits = to_bf16(v).bits;
    data.append(reinterpret_cast<const char*>(&bits), 2);
  }
  for (const float v : values) {
    const uint16_t bits = to_f16(v).bits;
    data.append(reinterpret_cast<const char*>(&bits), 2);
  }
  const std::string file = safetensors_file(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                            R"("f32":{"dtype":"F32","shape":[3,2],"data_offsets":[1,25]},)"
                                            R"("bf16":{"dtype":"BF16","shape":[3,1,2],"data_offsets":[25,37]},)"
                                            R"("f16":{"dtype":"F16","shape":[3,2],"data_offsets":[37,49]}})",
                                            data);
  const auto checkpoint = Checkpoint::open(FileSet::from_memory("m", {{"model.safetensors", as_bytes(file)}}));
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  for (const TensorSpec& spec : {TensorSpec{"f32", {3, 2}}, TensorSpec{"bf16", {3, 1, 2}}, TensorSpec{"f16", {3, 2}}}) {
    SCOPED_TRACE(spec.name);
    const auto tensor = checkpoint->get(spec);
    ASSERT_TRUE(tensor);
    EXPECT_EQ(tensor->num_rows(), 3);
    EXPECT_EQ(tensor->row_size(), 2);
    float row[4];
    ASSERT_TRUE(tensor->read_rows(1, 2, row));
    for (int i = 0; i < 4; ++i) {
      const float expected = spec.name == "bf16" ? to_float(to_bf16(values[i + 2])) : values[i + 2];
      EXPECT_EQ(row[i], expected) << i;
    }
    bf16 narrow[2];
    ASSERT_TRUE(tensor->read_rows(2, 1, narrow));
    EXPECT_EQ(narrow[0].bits, to_bf16(values[4]).bits);
    EXPECT_EQ(narrow[1].bits, to_bf16(values[5]).bits);
  }
}

int64_t resident_file_kib() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("RssFile:")) return std::stoll(line.substr(8));
  }
  return -1;
}

TEST(Checkpoint, DropReleasesPages) {
  TempDirectory dir;
  constexpr int64_t kRows = 4096;
  constexpr int64_t kColumns = 2048;  // 16 MiB
  dir.write("model.safetensors",
            safetensors_file(R"({"w":{"dtype":"BF16","shape":[4096,2048],"data_offsets":[0,16777216]}})",
                             std::string(2 * kRows * kColumns, 'x')));
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint);
  const auto tensor = checkpoint->get({"w", {kRows, kColumns}});
  ASSERT_TRUE(tensor);
  const int64_t before = resident_file_kib();
  std::vector<bf16> row(kColumns);
  int64_t peak = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    ASSERT_TRUE(tensor->read_rows(r, 1, row));
    if (r % 256 == 255) {
      peak = std::max(peak, resident_file_kib() - before);
      tensor->drop_rows(r - 255, 256);
    }
  }
  // 256 rows are 1 MiB; fault-around and neighbouring rows add a little. Without drop it would be 16 MiB.
  EXPECT_LT(peak, 4096);
  EXPECT_LT(resident_file_kib() - before, 1024);
  ASSERT_TRUE(tensor->read_rows(7, 1, row));  // comes back from the file
  EXPECT_EQ(row[5].bits, 0x7878);
  for (int64_t r = 0; r < kRows; ++r) ASSERT_TRUE(tensor->read_rows(r, 1, row));
  EXPECT_GT(resident_file_kib() - before, 12 << 10);
  checkpoint->drop_all();
  EXPECT_LT(resident_file_kib() - before, 256);
}

TEST(FileSet, RefusesPathsAsNames) {
  TempDirectory dir;
  dir.write("a.json", "{}");
  dir.write("sub/b.json", "{}");
  const auto files = FileSet::open(dir.path() + "/");
  ASSERT_TRUE(files);
  EXPECT_EQ(files->label(), dir.path());
  EXPECT_TRUE(files->contains("a.json"));
  EXPECT_EQ(*files->text("a.json", 2), "{}");
  EXPECT_EQ(files->text("a.json", 1).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(files->list(".json"), (std::vector<std::string>{"a.json"}));
  for (const std::string_view name : {std::string_view("sub/b.json"), std::string_view("../a.json"),
                                      std::string_view(".."), std::string_view(""), std::string_view("a.json\0x", 8)}) {
    EXPECT_FALSE(files->contains(name));
    EXPECT_FALSE(files->bytes(name));
    EXPECT_FALSE(files->text(name, 10));
  }
}

TEST(Names, AcceptsAllPrefixes) {
  const std::string layer = "model.language_model.layers.3.mlp.down_proj.weight";
  EXPECT_EQ(canonical_tensor_name(layer), layer);
  EXPECT_EQ(canonical_tensor_name("language_model.model.layers.3.mlp.down_proj.weight"), layer);
  EXPECT_EQ(canonical_tensor_name("model.layers.3.mlp.down_proj.weight"), layer);
  EXPECT_EQ(canonical_tensor_name("visual.merger.proj.weight"), "model.visual.merger.proj.weight");
  EXPECT_EQ(canonical_tensor_name("model.visual.merger.proj.weight"), "model.visual.merger.proj.weight");
  EXPECT_EQ(canonical_tensor_name("language_model.lm_head.weight"), "lm_head.weight");
  EXPECT_EQ(canonical_tensor_name("lm_head.weight"), "lm_head.weight");
  EXPECT_EQ(canonical_tensor_name("something"), "something");
}

}  // namespace
}  // namespace glimpse

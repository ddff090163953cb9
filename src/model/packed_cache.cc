#include "model/packed_cache.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/json.h"

namespace glimpse {

namespace {

constexpr std::string_view kMagic = "glimpse-packed 1\n";
constexpr uint64_t kPage = 4096;

struct Footer {
  uint64_t index_offset = 0;
  uint64_t index_size = 0;
};

}  // namespace

std::unique_ptr<PackedCache> PackedCache::open(const std::string& path, const std::string& key) {
  auto cache = std::unique_ptr<PackedCache>(new PackedCache());
  cache->path_ = path;
  cache->key_ = key;
  if (cache->load()) return cache;
  cache->file_ = nullptr;
  cache->places_.clear();
  std::error_code ignored;  // a missing folder shows when the file is opened
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  cache->temporary_path_ = path + "." + std::to_string(::getpid()) + ".tmp";
  cache->out_ = std::fopen(cache->temporary_path_.c_str(), "wb");
  if (cache->out_ == nullptr) {
    cache->write_errno_ = errno;
  } else {
    cache->write(kMagic.data(), kMagic.size());
  }
  return cache;
}

PackedCache::~PackedCache() {
  if (out_ != nullptr) {
    std::fclose(out_);
    ::unlink(temporary_path_.c_str());
  }
}

bool PackedCache::load() {
  auto mapped = MappedFile::open(path_);
  if (!mapped) return false;
  const auto bytes = mapped->bytes();
  if (bytes.size() < kMagic.size() + sizeof(Footer) || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return false;
  }
  Footer footer;
  std::memcpy(&footer, bytes.data() + bytes.size() - sizeof(Footer), sizeof(Footer));
  const uint64_t end = bytes.size() - sizeof(Footer);
  if (footer.index_offset > end || footer.index_size != end - footer.index_offset) return false;
  const auto index = parse_json(
      {reinterpret_cast<const char*>(bytes.data() + footer.index_offset), static_cast<size_t>(footer.index_size)});
  if (!index || !index->is_object()) return false;
  const auto key = get_string(index->get_object(), "key", "");
  const json::value* blobs = glimpse::find(index->get_object(), "blobs");
  if (!key || *key != key_ || blobs == nullptr || !blobs->is_object()) return false;
  for (const auto& [name, place] : blobs->get_object()) {
    if (!place.is_array() || place.get_array().size() != 2) return false;
    const auto* offset = place.get_array()[0].if_int64();
    const auto* size = place.get_array()[1].if_int64();
    if (offset == nullptr || size == nullptr || *offset < 0 || *size < 0 ||
        static_cast<uint64_t>(*offset) > footer.index_offset ||
        static_cast<uint64_t>(*size) > footer.index_offset - static_cast<uint64_t>(*offset) ||
        static_cast<uint64_t>(*offset) % kPage != 0) {
      return false;
    }
    places_[std::string(name)] = {static_cast<uint64_t>(*offset), static_cast<uint64_t>(*size)};
  }
  file_ = std::make_shared<const MappedFile>(*std::move(mapped));
  return true;
}

std::span<const std::byte> PackedCache::find(const std::string& name) const {
  const auto place = places_.find(name);
  if (file_ == nullptr || place == places_.end()) return {};
  return file_->bytes().subspan(place->second.offset, place->second.size);
}

void PackedCache::write(const void* data, size_t bytes) {
  if (out_ == nullptr || write_errno_ != 0) return;
  if (std::fwrite(data, 1, bytes, out_) != bytes) write_errno_ = errno == 0 ? EIO : errno;
  written_ += bytes;
}

void PackedCache::add(const std::string& name, std::span<const std::byte> bytes) {
  static constexpr char kZeros[kPage] = {};
  write(kZeros, (kPage - written_ % kPage) % kPage);
  places_[name] = {written_, bytes.size()};
  write(bytes.data(), bytes.size());
}

Status PackedCache::finish() {
  json::object blobs;
  for (const auto& [name, place] : places_) {
    blobs[name] = json::array{static_cast<int64_t>(place.offset), static_cast<int64_t>(place.size)};
  }
  const std::string index = json::serialize(json::object{{"key", key_}, {"blobs", std::move(blobs)}});
  const Footer footer{written_, index.size()};
  write(index.data(), index.size());
  write(&footer, sizeof footer);
  if (out_ != nullptr && std::fclose(std::exchange(out_, nullptr)) != 0 && write_errno_ == 0) write_errno_ = errno;
  if (write_errno_ == 0 && std::rename(temporary_path_.c_str(), path_.c_str()) != 0) write_errno_ = errno;
  if (write_errno_ != 0) {
    ::unlink(temporary_path_.c_str());
    return Error{ErrorCode::kResource,
                 path_ + ": cannot keep the packed weights: " + std::string(std::strerror(write_errno_))};
  }
  return {};
}

}  // namespace glimpse

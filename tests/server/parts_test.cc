// The server's parts on their own, without sockets.

#include <gtest/gtest.h>

#include "server/access.h"
#include "server/file_store.h"
#include "server/latency_window.h"
#include "server/media_fetch.h"
#include "server/multipart.h"
#include "server/pixel_buffers.h"
#include "server/router.h"
#include "server/traces.h"

namespace glimpse {
namespace {

class FakeClock final : public Clock {
 public:
  int64_t now_ns() const override { return ns; }
  int64_t ns = 1'000'000'000;
};

TEST(Multipart, PartsWhateverThePieces) {
  const std::string body =
      "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--b\r\n"
      "content-disposition: form-data; name=\"f\"; filename=\"x \\\"y\\\".png\"\r\nContent-Type: Image/PNG; q=1\r\n\r\n"
      "data\r\n--xogus\r\n-\r\n--b\r\ncontent-disposition: form-data; name=empty\r\n\r\n\r\n--b--\r\nepilogue";
  for (size_t piece = 1; piece <= body.size(); ++piece) {
    std::string seen;
    Multipart parser("b", {.begin = [&](const Multipart::Part& part) -> Status {
                             seen += "[" + part.name + "|" + part.filename + "|" + part.content_type + "]";
                             return {};
                           },
                           .data = [&](std::string_view bytes) -> Status {
                             seen += bytes;
                             return {};
                           },
                           .end = [&]() -> Status {
                             seen += ";";
                             return {};
                           }});
    for (size_t at = 0; at < body.size(); at += piece) {
      ASSERT_TRUE(parser.push(std::string_view(body).substr(at, piece)));
    }
    ASSERT_TRUE(parser.finish()) << piece;
    EXPECT_EQ(seen, "[a||]one;[f|x \"y\".png|image/png]data\r\n--xogus\r\n-;[empty||];") << piece;
  }
}

TEST(Multipart, BoundsAndBrokenBodies) {
  const auto parse = [](std::string_view body) {
    Multipart parser("b", {.begin = [](const Multipart::Part&) -> Status { return {}; },
                           .data = [](std::string_view) -> Status { return {}; },
                           .end = []() -> Status { return {}; }});
    const Status status = parser.push(body);
    return status.has_value() && parser.finish().has_value();
  };
  EXPECT_FALSE(parse(""));
  EXPECT_FALSE(parse("no boundary"));
  EXPECT_FALSE(parse("--b\r\n\r\nx\r\n--b--"));  // no name
  EXPECT_FALSE(parse("--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx"));
  EXPECT_FALSE(parse("--b garbage\r\n\r\nx\r\n--b--"));
  EXPECT_FALSE(parse("--b\r\n" + std::string(10'000, 'x')));
  std::string many;
  for (int i = 0; i < 300; ++i) many += "--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\r\n";
  EXPECT_FALSE(parse(many + "--b--"));
  EXPECT_FALSE(Multipart::boundary("multipart/form-data"));
  EXPECT_FALSE(Multipart::boundary("multipart/form-data; boundary=" + std::string(100, 'a')));
  EXPECT_EQ(*Multipart::boundary("Multipart/Form-Data; charset=x; boundary=\"a b\""), "a b");
}

TEST(MediaUrls, HostsThatTwoParsersCouldReadDifferently) {
  for (const char* url :
       {"http://a\\@b", "http://a@b/", "http://user:pw@b/", "http://", "http:///x", "//b/x", "ftp://b/x",
        "http://b\n/x", "http://b /x", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/",
        "http://1.2.3/", "http://%31/", "http://[::1", "gopher://b"}) {
    EXPECT_FALSE(checked_host(url)) << url;
  }
  EXPECT_EQ(*checked_host("HTTP://Example.COM:8080/a?b#c"), "example.com");
  EXPECT_EQ(*checked_host("https://example.com."), "example.com");
  EXPECT_EQ(*checked_host("http://127.0.0.1/x"), "127.0.0.1");
  EXPECT_EQ(*checked_host("http://[::1]:80/x"), "[::1]");
}

TEST(MediaUrls, PrivateAddresses) {
  const auto v4 = [](uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return is_public_ipv4(a << 24 | b << 16 | c << 8 | d);
  };
  EXPECT_TRUE(v4(8, 8, 8, 8));
  EXPECT_TRUE(v4(172, 32, 0, 1));
  for (const bool is_public :
       {v4(127, 0, 0, 1), v4(10, 1, 2, 3), v4(172, 16, 0, 1), v4(172, 31, 255, 255), v4(192, 168, 1, 1),
        v4(169, 254, 169, 254), v4(100, 64, 0, 1), v4(0, 0, 0, 0), v4(224, 0, 0, 1), v4(255, 255, 255, 255)}) {
    EXPECT_FALSE(is_public);
  }
  const uint8_t global[16] = {0x26, 0x06, 0x47};
  const uint8_t loopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  const uint8_t local[16] = {0xfe, 0x80};
  const uint8_t unique_local[16] = {0xfd};
  const uint8_t six_to_four[16] = {0x20, 0x02, 10, 0, 0, 1};
  EXPECT_TRUE(is_public_ipv6(global));
  EXPECT_FALSE(is_public_ipv6(loopback));
  EXPECT_FALSE(is_public_ipv6(mapped));
  EXPECT_FALSE(is_public_ipv6(local));
  EXPECT_FALSE(is_public_ipv6(unique_local));
  EXPECT_FALSE(is_public_ipv6(six_to_four));
}

TEST(FileStore, BoundsInBytesAndTime) {
  FakeClock clock;
  FileLimits limits{.max_bytes = 100, .max_count = 10, .max_bytes_per_owner = 60, .lifetime_s = 50};
  FileStore store(limits, clock);
  const auto add = [&](const std::string& owner, size_t size) {
    auto picture = std::make_shared<Picture>();
    picture->bytes.assign(size, 'x');
    auto added = store.add({.owner = owner, .picture = picture});
    return added ? (*added)->id : std::string();
  };
  EXPECT_EQ(add("a", 61), "") << "over the owner's bound";
  const std::string first = add("a", 30);
  const std::string second = add("a", 30);
  const std::string other = add("b", 40);
  EXPECT_EQ(store.bytes(), 100u);
  EXPECT_NE(store.find("a", first), nullptr);  // a use
  EXPECT_NE(add("a", 30), "");
  EXPECT_EQ(store.find("a", second), nullptr) << "the owner's own least recently used one made room";
  EXPECT_NE(store.find("b", other), nullptr);
  clock.ns += int64_t{51} * 1'000'000'000;
  store.expire();
  EXPECT_EQ(store.count(), 0u);
  EXPECT_EQ(store.bytes(), 0u);
}

TEST(RateLimiter, RefillsAndForgets) {
  RateLimiter limiter(60, 2, 10);
  int64_t now = 0;
  EXPECT_FALSE(limiter.take("a", now));
  EXPECT_FALSE(limiter.take("a", now));
  EXPECT_NEAR(*limiter.take("a", now), 1.0, 1e-6);
  now += 500'000'000;
  EXPECT_NEAR(*limiter.take("a", now), 0.5, 1e-6);
  now += 500'000'000;
  EXPECT_FALSE(limiter.take("a", now));
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limiter.take("client " + std::to_string(i), now));
}

TEST(LatencyWindow, RatioOfTheLastMinuteToTheHour) {
  LatencyWindow window;
  int64_t now = int64_t{1000} * 60'000'000'000;
  for (int minute = 0; minute < 30; ++minute) {
    for (int i = 0; i < 100; ++i) window.add(0.010, now);
    now += 60'000'000'000;
  }
  EXPECT_NEAR(window.p95_ratio(now - 60'000'000'000), 1.0, 0.2);
  now += int64_t{2} * 60'000'000'000;
  for (int i = 0; i < 30; ++i) window.add(0.100, now);
  EXPECT_NEAR(window.p95_ratio(now), 10.0, 2.0);
  EXPECT_EQ(window.p95_ratio(now + int64_t{3} * 3600 * 1'000'000'000), 0.0);
}

TEST(PixelBuffers, ComeBack) {
  const auto pool = std::make_shared<PixelBuffers>(
      [](size_t bytes) -> Result<Buffer> {
        return Buffer(std::aligned_alloc(64, bytes), bytes, [](void* data, size_t) { std::free(data); });
      },
      size_t{8} << 20);
  const std::byte* first = nullptr;
  {
    const auto buffer = pool->take(1'000'000);
    first = buffer.get();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  }
  EXPECT_GT(pool->idle_bytes(), 0u);
  EXPECT_EQ(pool->take(1'000'000).get(), first);
  {
    const auto big = pool->take(size_t{64} << 20);
  }
  EXPECT_LE(pool->idle_bytes(), size_t{8} << 20);
}

TEST(Router, ParametersAndMethods) {
  Router router;
  const auto none = [](Exchange&) -> Task<std::optional<HttpResponse>> { co_return std::nullopt; };
  router.add({.method = "GET", .pattern = "/v1/files/{id}", .handler = none});
  router.add({.method = "GET", .pattern = "/v1/files/{id}/content", .handler = none});
  EXPECT_EQ(router.find("GET", "/v1/files/a%2Fb").param, "a/b");
  EXPECT_EQ(router.find("GET", "/v1/files/a/content").route->pattern, "/v1/files/{id}/content");
  EXPECT_EQ(router.find("GET", "/v1/files/a/b/content").route, nullptr);
  EXPECT_TRUE(router.find("PUT", "/v1/files/a").known);
  EXPECT_FALSE(router.find("GET", "/v1/file").known);
  EXPECT_EQ(percent_decoded("%zz%4"), "%zz%4");
}

TEST(StepRing, KeepsOrderAndCountsLosses) {
  StepRing ring(4);
  const std::string id = "a";
  const std::string* ids[] = {&id};
  for (int i = 0; i < 6; ++i) ring.on_step({.step_id = i, .request_ids = ids});
  TracedStep step;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(ring.pop(step));
    EXPECT_EQ(step.step_id, i);
    EXPECT_EQ(step.num_requests, 1u);
  }
  EXPECT_FALSE(ring.pop(step));
  EXPECT_EQ(ring.lost(), 2);
}

}  // namespace
}  // namespace glimpse

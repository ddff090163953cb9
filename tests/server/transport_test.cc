// How a client gets to the server: TLS, a Unix socket, behind a proxy's prefix, while the model is still being loaded.

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <future>

#include "server/log.h"
#include "server/startup.h"
#include "tests/server/rig.h"

namespace glimpse {
namespace {

namespace fs = std::filesystem;

struct Folder {
  Folder() : path(fs::temp_directory_path() / ("glimpse-transport-" + std::to_string(::getpid()))) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
  const fs::path path;
};

// A key and a certificate for "localhost" that signs itself.
void make_certificate(const std::string& certificate_file, const std::string& key_file) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_set_version(certificate, X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
  X509_add_ext(certificate, names, -1);
  X509_EXTENSION_free(names);
  ASSERT_GT(X509_sign(certificate, key, EVP_sha256()), 0);
  BIO* out = BIO_new_file(certificate_file.c_str(), "w");
  PEM_write_bio_X509(out, certificate);
  BIO_free(out);
  out = BIO_new_file(key_file.c_str(), "w");
  PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  BIO_free(out);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

// A client that checks the server's certificate for "localhost" against the given one, and may show its own.
class TlsClient {
 public:
  TlsClient(uint16_t port, const std::string& authority, const std::string& own_certificate = {},
            const std::string& own_key = {}) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_file(context_, authority.c_str());
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    if (!own_certificate.empty()) {
      SSL_CTX_use_certificate_file(context_, own_certificate.c_str(), SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(context_, own_key.c_str(), SSL_FILETYPE_PEM);
    }
    BIO* bio = BIO_new_ssl_connect(context_);
    BIO_set_conn_hostname(bio, ("127.0.0.1:" + std::to_string(port)).c_str());
    SSL* ssl = nullptr;
    BIO_get_ssl(bio, &ssl);
    SSL_set1_host(ssl, "localhost");
    bio_ = bio;
    connected_ = BIO_do_connect(bio) == 1 && BIO_do_handshake(bio) == 1;
  }
  ~TlsClient() {
    BIO_free_all(bio_);
    SSL_CTX_free(context_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool connected() const { return connected_; }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const int sent = BIO_write(bio_, bytes.data(), static_cast<int>(bytes.size()));
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // Everything up to `end`, or the end of the stream.
  std::string receive_until(std::string_view end) {
    char bytes[4096];
    while (buffer_.find(end) == std::string::npos) {
      const int got = BIO_read(bio_, bytes, sizeof bytes);
      if (got <= 0) return std::exchange(buffer_, {});
      buffer_.append(bytes, static_cast<size_t>(got));
    }
    const size_t size = buffer_.find(end) + end.size();
    std::string text = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return text;
  }

 private:
  SSL_CTX* context_ = nullptr;
  BIO* bio_ = nullptr;
  std::string buffer_;
  bool connected_ = false;
};

class Tls : public testing::Test {
 protected:
  void SetUp() override {
    make_certificate(folder_.file("cert.pem"), folder_.file("key.pem"));
    options_.server.tls_certificate = folder_.file("cert.pem");
    options_.server.tls_key = folder_.file("key.pem");
    options_.server.connection.head_timeout_ms = 300;
  }
  Folder folder_;
  RigOptions options_;
};

TEST_F(Tls, AnswersAndStreamsOnOneConnection) {
  options_.script = R"([{"text": "word ", "repeat": 2000}])";
  const Rig rig(options_);
  TlsClient client(rig.port(), folder_.file("cert.pem"));
  ASSERT_TRUE(client.connected());
  client.send(wire("GET", "/v1/models", ""));
  EXPECT_NE(client.receive_until("\"mini\"").find("200 OK"), std::string::npos);
  std::string expected;
  for (int i = 0; i < 2000; ++i) expected += "word ";
  for (int turn = 0; turn < 2; ++turn) {
    client.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi", true))));
    const std::string text = client.receive_until("data: [DONE]");
    std::string answer;
    constexpr std::string_view kContent = "\"content\":\"";
    for (size_t at = text.find(kContent); at != std::string::npos; at = text.find(kContent, at)) {
      at += kContent.size();
      answer += text.substr(at, text.find('"', at) - at);
    }
    EXPECT_EQ(answer, expected);
    client.receive_until("0\r\n\r\n");
  }
}

TEST_F(Tls, PlainHttpGetsNoAnswerAndHurtsNobody) {
  const Rig rig(options_);
  {
    Client plain(rig.port());
    plain.send(wire("GET", "/healthz", ""));
    std::string all;
    for (std::string bytes = plain.receive(); !bytes.empty(); bytes = plain.receive()) all += bytes;
    EXPECT_EQ(all.find("HTTP/1.1"), std::string::npos) << all;  // an alert of TLS, or nothing
  }
  Client silent(rig.port());  // never says hello
  EXPECT_TRUE(silent.receive().empty()) << "cut off by the head's time limit";
  TlsClient client(rig.port(), folder_.file("cert.pem"));
  ASSERT_TRUE(client.connected());
  client.send(wire("GET", "/healthz", ""));
  EXPECT_NE(client.receive_until("\"ok\"").find("200 OK"), std::string::npos);
}

TEST_F(Tls, ClientCertificatesWhereTheyAreDemanded) {
  make_certificate(folder_.file("client.pem"), folder_.file("client-key.pem"));
  options_.server.tls_client_ca = folder_.file("client.pem");
  const Rig rig(options_);
  TlsClient known(rig.port(), folder_.file("cert.pem"), folder_.file("client.pem"), folder_.file("client-key.pem"));
  known.send(wire("GET", "/healthz", ""));
  EXPECT_NE(known.receive_until("\"ok\"").find("200 OK"), std::string::npos);
  TlsClient unknown(rig.port(), folder_.file("cert.pem"));
  unknown.send(wire("GET", "/healthz", ""));
  EXPECT_EQ(unknown.receive_until("\"ok\"").find("200 OK"), std::string::npos);
}

TEST_F(Tls, FilesThatAreNoneAreNamed) {
  asio::io_context io;
  const SteadyClock clock;
  options_.server.port = 0;
  options_.server.tls_key = folder_.file("none.pem");
  HttpServer http(io, options_.server, clock);
  const Status bound = http.bind();
  ASSERT_FALSE(bound.has_value());
  EXPECT_EQ(bound.error().code, ErrorCode::kInvalidData);
  EXPECT_NE(bound.error().message.find("none.pem"), std::string::npos) << bound.error().message;
}

// One exchange over a Unix socket; "" when nobody listens.
std::string over_unix_socket(const std::string& path, std::string_view bytes) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  std::string answer;
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    EXPECT_EQ(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    char piece[4096];
    for (ssize_t got = 0; (got = ::recv(socket, piece, sizeof piece, 0)) > 0;) {
      answer.append(piece, static_cast<size_t>(got));
    }
  }
  ::close(socket);
  return answer;
}

TEST(UnixSocket, AnswersAndIsRemovedInTheEnd) {
  const Folder folder;
  RigOptions options;
  options.server.unix_socket = folder.file("glimpse.sock");
  const std::string chat = json::serialize(chat_body("hi", true));
  {
    const Rig rig(options);
    const std::string answer =
        over_unix_socket(options.server.unix_socket, wire("POST", "/v1/chat/completions", chat, {"connection: close"}));
    EXPECT_NE(answer.find("data: [DONE]"), std::string::npos) << answer;
  }
  EXPECT_FALSE(fs::exists(options.server.unix_socket));
  // What a server that was killed left behind is no hindrance; another file is not touched.
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  options.server.unix_socket.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(socket);
  {
    const Rig rig(options);
    EXPECT_NE(over_unix_socket(options.server.unix_socket, wire("GET", "/healthz", "", {"connection: close"})), "");
  }
  std::FILE* file = std::fopen(options.server.unix_socket.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fclose(file);
  asio::io_context io;
  const SteadyClock clock;
  HttpServer http(io, options.server, clock);
  const Status bound = http.bind();
  ASSERT_FALSE(bound.has_value());
  EXPECT_NE(bound.error().message.find("glimpse.sock"), std::string::npos);
  EXPECT_TRUE(fs::is_regular_file(options.server.unix_socket));
}

TEST(RootPath, IsTakenOffWhereItIs) {
  RigOptions options;
  options.server.root_path = "/glimpse";
  const Rig rig(options);
  for (const char* path :
       {"/glimpse/v1/models", "/v1/models", "/glimpse/healthz", "/healthz", "/glimpse", "/glimpse/"}) {
    EXPECT_EQ(request(rig.port(), "GET", path).status, 200) << path;
  }
  EXPECT_EQ(request(rig.port(), "GET", "/glimpse/glimpse/v1/models").status, 404);
  EXPECT_EQ(post_json(rig.port(), "/glimpse/v1/chat/completions", chat_body("hi")).status, 200);
}

TEST(Startup, SaysHowFarItIsUntilItIsReady) {
  setup_log(false, LogLevel::kError);
  asio::io_context io(1);
  const SteadyClock clock;
  ServerOptions options;
  options.port = 0;
  options.version = "7";
  options.log_requests = false;
  HttpServer http(io, options, clock);
  ASSERT_TRUE(http.bind().has_value());
  Startup startup(http, options);
  http.start();
  std::thread thread([&io] { io.run(); });
  const uint16_t port = http.port();

  EXPECT_EQ(request(port, "GET", "/healthz").status, 200);
  EXPECT_EQ(request(port, "GET", "/version").json().at("version"), "7");
  startup.report("text weights", 0.37);
  for (const char* path : {"/health", "/ready", "/v1/models", "/metrics"}) {
    const Reply reply = request(port, "GET", path);
    EXPECT_EQ(reply.status, 503) << path;
    EXPECT_EQ(reply.header("retry-after"), "1");
    EXPECT_NE(reply.error_message().find("text weights, 37 %"), std::string::npos) << reply.body;
    EXPECT_EQ(reply.json().at("progress").at("share").to_number<double>(), 0.37);
  }
  Client kept(port);
  kept.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi"))));
  EXPECT_EQ(kept.reply().status, 503);

  ScriptedEngine engine({}, [](const EngineRequest&) { return Script{.ids = {}}; });
  const ApiModel model(mini_source(), ApiModelOptions{.served_names = {"mini"}, .max_model_len = 8192});
  std::unique_ptr<Server> server;
  std::promise<void> ready;
  asio::post(io, [&] {
    server = std::make_unique<Server>(io, http, options, clock, model, engine, nullptr);
    startup.done();
    ready.set_value();
  });
  ready.get_future().wait();
  EXPECT_EQ(request(port, "GET", "/ready").status, 200);
  kept.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi"))));
  EXPECT_EQ(kept.reply().status, 200) << "the connection of before goes on";
  io.stop();
  thread.join();
  server.reset();
}

TEST(Startup, AnAddressInUseIsSaidAtOnce) {
  const Rig rig;
  asio::io_context io;
  const SteadyClock clock;
  ServerOptions options;
  options.port = rig.port();
  HttpServer http(io, options, clock);
  const Status bound = http.bind();
  ASSERT_FALSE(bound.has_value());
  EXPECT_EQ(bound.error().code, ErrorCode::kResource);
  EXPECT_NE(bound.error().message.find(std::to_string(rig.port())), std::string::npos) << bound.error().message;
}

}  // namespace
}  // namespace glimpse

#include "bench/kernels/matmul_onednn.h"

#include <dnnl.hpp>
#include <memory>
#include <unordered_map>

std::function<void()> onednn_product(int64_t m, int64_t n, int64_t k, bool int8) {
  using dnnl::memory;
  const auto engine = std::make_shared<dnnl::engine>(dnnl::engine::kind::cpu, 0);
  const auto stream = std::make_shared<dnnl::stream>(*engine);
  const auto x_type = int8 ? memory::data_type::u8 : memory::data_type::bf16;
  const auto w_type = int8 ? memory::data_type::s8 : memory::data_type::bf16;
  const memory::desc x_desc({m, k}, x_type, memory::format_tag::ab);
  const memory::desc w_any({k, n}, w_type, memory::format_tag::any);
  const memory::desc w_plain({k, n}, w_type, memory::format_tag::ab);
  const memory::desc y_desc({m, n}, memory::data_type::f32, memory::format_tag::ab);
  const dnnl::matmul::primitive_desc desc({x_desc, w_any, y_desc}, *engine);
  const memory x(x_desc, *engine);
  const memory y(y_desc, *engine);
  const memory plain(w_plain, *engine);
  const memory w(desc.weights_desc(), *engine);
  dnnl::reorder(plain, w).execute(*stream, const_cast<memory&>(plain), const_cast<memory&>(w));
  stream->wait();
  const auto product = std::make_shared<dnnl::matmul>(desc);
  const std::unordered_map<int, memory> args = {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}};
  return [engine, stream, product, args] {
    product->execute(*stream, args);
    stream->wait();
  };
}

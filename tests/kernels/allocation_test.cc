// Ops allocate nothing once they are warm: malloc (and so operator new) is counted here, in a program of its own.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "tests/kernels/rig.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void note() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

// glibc's own malloc under the counter; operator new comes through here too. Not built with sanitizers, which have
// theirs.
extern "C" void* __libc_malloc(size_t bytes);  // NOLINT
extern "C" void* malloc(size_t bytes) {        // NOLINT
  note();
  return __libc_malloc(bytes);
}

namespace glimpse::testing {
namespace {

template <typename Enqueue>
void expect_no_allocation(const char* name, const Enqueue& enqueue) {
  enqueue();
  allocations = 0;
  counting = true;
  enqueue();
  counting = false;
  EXPECT_EQ(allocations, 0) << name;
}

TEST(Ops, AllocateNothing) {
  for (const Target& target : targets()) {
    if (target.options.deferred) continue;
    Rig rig(target);
    Stream& stream = rig.stream();
    const int32_t tokens = 300, heads = 4, kv_heads = 2, hd = 64, hidden = 256;
    const int64_t cols = int64_t{heads + 2 * kv_heads} * hd;
    const auto random = [](int64_t count) { return normal_values(static_cast<size_t>(count), 1); };
    const Rows rows = rig.rows(tokens, tokens);
    const auto packed = rig.pack({.name = "qkv", .rows = cols, .cols = hidden, .consumer = LinearConsumer::kQkv},
                                 random(cols * hidden));
    const auto gate_up = rig.pack({.name = "gate_up", .rows = 512, .cols = hidden, .consumer = LinearConsumer::kGateUp},
                                  random(512 * hidden));
    auto kv = *rig.backend().make_kv({.num_layers = 1, .num_kv_heads = kv_heads, .head_dim = hd, .num_blocks = 200});
    std::vector<int32_t> slots(tokens), table(200), positions(tokens);
    for (int32_t i = 0; i < tokens; ++i) slots[i] = positions[i] = i;
    for (int32_t i = 0; i < 200; ++i) table[i] = i;

    EmbedArgs embed_args{.tokens = rows, .token_ids = rig.upload(std::vector<int32_t>(tokens, 3))};
    embed_args.table = rig.matrix(DType::kBF16, 10, hidden, random(10 * hidden));
    embed_args.x = rig.matrix(DType::kF32, tokens, hidden);
    AddNormArgs norm{.rows = rows, .x = embed_args.x, .weight = rig.upload(random(hidden))};
    norm.y = rig.activation(DType::kBF16, tokens, hidden);
    RopeTableArgs rope{.tokens = rows,
                       .positions = rig.upload(positions),
                       .inv_freq = rig.upload(random(16)),
                       .axis = rig.upload(std::vector<uint8_t>(16)),
                       .num_pairs = 16};
    rope.cos = static_cast<float*>(rig.allocate(tokens * 16 * sizeof(float)));
    rope.sin = static_cast<float*>(rig.allocate(tokens * 16 * sizeof(float)));
    QkvRopeKvArgs qkv{.tokens = rows,
                      .x = norm.y,
                      .weight = packed.get(),
                      .num_heads = heads,
                      .num_kv_heads = kv_heads,
                      .head_dim = hd,
                      .cos = rope.cos,
                      .sin = rope.sin,
                      .num_pairs = 16,
                      .kv = kv.get()};
    qkv.slot_mapping = rig.upload(slots);
    qkv.q = rig.matrix(DType::kBF16, tokens, heads * hd);
    AttentionPagedArgs paged{.tokens = rows,
                             .seqs = rig.rows(1, 1),
                             .cu_seqlens = rig.upload(std::vector<int32_t>{0, tokens}),
                             .context_lens = rig.upload(std::vector<int32_t>{tokens}),
                             .block_table = rig.upload(table),
                             .max_blocks = 200,
                             .kv = kv.get(),
                             .num_heads = heads,
                             .scale = 0.125f,
                             .q = qkv.q};
    paged.out = rig.activation(DType::kI8, tokens, heads * hd, 128);
    AttentionPagedArgs decode = paged;  // one query over a context long enough to be split
    decode.cu_seqlens = rig.upload(std::vector<int32_t>{0, 1});
    decode.context_lens = rig.upload(std::vector<int32_t>{3000});
    AttentionVarlenArgs varlen{.tokens = rows,
                               .segments = rig.rows(1, 1),
                               .cu_seqlens = paged.cu_seqlens,
                               .num_heads = heads,
                               .head_dim = hd,
                               .scale = 0.125f};
    varlen.qkv = rig.matrix(DType::kBF16, tokens, 3 * heads * hd, random(int64_t{tokens} * 3 * heads * hd));
    varlen.out = rig.activation(DType::kBF16, tokens, heads * hd);
    GateUpSiluArgs gate{
        .rows = rows, .x = norm.y, .weight = gate_up.get(), .y = rig.activation(DType::kBF16, tokens, 256)};
    LayerNormGeluArgs gelu{.rows = rows, .x = embed_args.x, .weight = norm.weight, .bias = norm.weight, .y = norm.y};

    const OpTable& ops = rig.ops();
    for (const size_t bytes : {ops.qkv_rope_kv_workspace(qkv), ops.attention_paged_workspace(paged),
                               ops.attention_varlen_workspace(varlen), ops.gate_up_silu_workspace(gate)}) {
      EXPECT_TRUE(stream.reserve_workspace(bytes));
    }
    expect_no_allocation("embed", [&] { embed(embed_args, stream); });
    expect_no_allocation("add_norm", [&] { add_norm(norm, stream); });
    expect_no_allocation("rope_table", [&] { rope_table(rope, stream); });
    expect_no_allocation("qkv_rope_kv", [&] { qkv_rope_kv(qkv, stream); });
    expect_no_allocation("attention_paged", [&] { attention_paged(paged, stream); });
    expect_no_allocation("attention_paged, split", [&] { attention_paged(decode, stream); });
    expect_no_allocation("attention_varlen", [&] { attention_varlen(varlen, stream); });
    expect_no_allocation("gate_up_silu", [&] { gate_up_silu(gate, stream); });
    expect_no_allocation("layernorm_gelu", [&] { layernorm_gelu(gelu, stream); });
  }
  // The counter counts.
  allocations = 0;
  counting = true;
  delete new volatile int(1);
  counting = false;
  EXPECT_GT(allocations, 0);
}

}  // namespace
}  // namespace glimpse::testing

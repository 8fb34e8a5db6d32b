// Runs the fused MLP of a GPU on an emulated block. Reads the file named first, writes the one named second:
// in:  int32 precision, activation, bytes of shared memory, blocks, rows, layers, widths[layers + 1]; float32 x, grad_out, weights
// out: float32 out, out of inference, grad_x, grad_weights
#include "emulated_block.h"
#include "kernels/mlp_fused.h"

#include <cstdio>
#include <cstdlib>
#include <limits>

using namespace nerfcore;

namespace {

// Memory on the heap with the alignment of a GPU's, so that a sanitizer sees its ends; filled with NaNs.
class Memory {
 public:
  explicit Memory(int64_t n) : size(n), values(static_cast<float*>(std::aligned_alloc(256, size_t(n * 4 + 255) / 256 * 256))) {
    std::fill(values, values + n, std::numeric_limits<float>::quiet_NaN());
  }
  ~Memory() { std::free(values); }
  operator float*() { return values; }
  const int64_t size;

 private:
  float* values;
};

struct Job {
  Precision precision;
  OutputActivation activation;
  int limit, blocks, rows;
  std::vector<int> widths;
};

template <class P, int H> void run(const Job& job, const FusedShape& shape, std::FILE* in, std::FILE* out) {
  const int64_t wide = job.widths.front(), narrow = job.widths.back();
  std::vector<Memory*> weights, grads;
  const auto read = [&](float* to, int64_t n) {
    if (int64_t(std::fread(to, 4, size_t(n), in)) != n) std::abort();
  };
  Memory x(job.rows * wide), grad_out(job.rows * narrow), y(job.rows * narrow), inferred(job.rows * narrow), grad_x(job.rows * wide);
  Memory hidden(fused_hidden_size<P>(shape, job.rows)), packed(int64_t(shape.tiles()) * kTileWords<P>);
  Memory partial(int64_t(job.blocks) * shape.tiles() * kTile * kTile);
  read(x, x.size), read(grad_out, grad_out.size);
  std::vector<const float*> w;
  std::vector<float*> grad_w;
  for (int l = 0; l < shape.layers; ++l) {
    weights.push_back(new Memory(int64_t(job.widths[l]) * job.widths[l + 1]));
    grads.push_back(new Memory(weights[l]->size));
    read(*weights[l], weights[l]->size);
    w.push_back(*weights[l]), grad_w.push_back(*grads[l]);
  }
  const auto pack = [&](bool transposed) {
    const auto kernel = pack_weights<P>(shape, w, transposed, packed);
    for (int64_t i = 0; i < packed.size; ++i) kernel(i);
  };

  pack(false);
  MlpForward<float> forward{job.widths, w, job.activation, job.rows, x, hidden, y};
  for (bool inference : {false, true}) {
    if (inference) forward.hidden = nullptr, forward.out = inferred;
    const SharedMemory memory = fused_forward_memory<P>(shape, job.limit);
    const FusedForward p = fused_forward(shape, forward, packed, memory);
    Memory shared(memory.bytes / 4 * job.blocks);
    EmulatedBlock::launch(job.blocks, kFusedWarps<P, H>, [&](const EmulatedBlock& block) {
      FusedMlp<EmulatedBlock, P, H>(block).forward(p, reinterpret_cast<Words4*>(shared + block.index() * (memory.bytes / 4)));
    });
  }

  pack(true);
  const MlpBackward<float> backward{job.widths, w, job.activation, job.rows, x, hidden, y, grad_out, grad_x, grad_w};
  Memory row(SumPartials::kWarps * kWarpLanes), most(1);
  most[0] = 0.0f;
  float* largest = P::kScalesGradient ? static_cast<float*>(most) : nullptr;
  const LargestGradient gradient = largest_gradient(backward, largest);
  if (largest) EmulatedBlock::launch(job.blocks, LargestGradient::kWarps, [&](const EmulatedBlock& block) { gradient(block, row); });
  const SharedMemory memory = fused_backward_memory<P, H>(shape, job.limit);
  const FusedBackward p = fused_backward(shape, backward, packed, partial, largest, memory);
  Memory shared(memory.bytes / 4 * job.blocks);
  EmulatedBlock::launch(job.blocks, kFusedWarps<P, H>, [&](const EmulatedBlock& block) {
    FusedMlp<EmulatedBlock, P, H>(block).backward(p, reinterpret_cast<Words4*>(shared + block.index() * (memory.bytes / 4)));
  });
  const SumPartials sum = sum_partials(shape, backward, partial, largest, job.blocks);
  EmulatedBlock::launch(shape.tiles() * kTile * kTile / kWarpLanes, SumPartials::kWarps, [&](const EmulatedBlock& block) { sum(block, row); });

  const auto write = [&](Memory& m) { std::fwrite(m, 4, size_t(m.size), out); };
  write(y), write(inferred), write(grad_x);
  for (int l = 0; l < shape.layers; ++l) write(*grads[l]), delete weights[l], delete grads[l];
}

template <class P> void run(const Job& job, std::FILE* in, std::FILE* out) {
  const FusedShape shape = fused_shape(job.widths);
  switch (shape.width) {
    case 16: return run<P, 16>(job, shape, in, out);
    case 32: return run<P, 32>(job, shape, in, out);
    case 64: return run<P, 64>(job, shape, in, out);
    default: return run<P, 128>(job, shape, in, out);
  }
}

}  // namespace

int main(int, char** argv) {
  std::FILE *in = std::fopen(argv[1], "rb"), *out = std::fopen(argv[2], "wb");
  int32_t head[6];
  if (!in || !out || std::fread(head, 4, 6, in) != 6) return 1;
  Job job{Precision(head[0]), OutputActivation(head[1]), head[2], head[3], head[4], std::vector<int>(size_t(head[5]) + 1)};
  if (std::fread(job.widths.data(), 4, job.widths.size(), in) != job.widths.size()) return 1;
  if (job.precision == Precision::kTf32) run<Tf32>(job, in, out);
  if (job.precision == Precision::kBf16) run<Bf16>(job, in, out);
  if (job.precision == Precision::kFp16) run<Fp16>(job, in, out);
  std::fclose(in), std::fclose(out);
  return 0;
}

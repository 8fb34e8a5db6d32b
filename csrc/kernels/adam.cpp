// Most entries of a hash table are untouched in a step: what has no gradient is passed over after reading the gradient, or one flag
// an entry, alone.
#include "core/simd.h"  // first: what it declares for vectors must be known where math/adam.h uses it

#include "core/parallel.h"
#include "kernels/adam.h"

#include <initializer_list>
#include <utility>

namespace nerfcore {
namespace {

constexpr int64_t kValuesPerChunk = 1 << 15;  // a multiple of every kLanes
constexpr int64_t kGroup = 64, kEntriesPerChunk = 128 * kGroup;

// adam_update of a vector of parameters from i on; returns what becomes of them.
template <class T> Simd<T> update_vector(const Adam<T>& p, const AdamStep<Simd<T>>& step, Simd<T> gradient, int64_t i) {
  Simd<T> param = load(p.param + i), first = load(p.first + i), second = load(p.second + i);
  adam_update(step, &param, gradient, &first, &second);
  store(p.param + i, param), store(p.first + i, first), store(p.second + i, second);
  return param;
}

void write(const HalfCopy& copy, int64_t i, Floats x) {
  if (!copy.values) return;
  if (copy.storage == Storage::kFloat16) narrow_vector(x, static_cast<Float16*>(copy.values) + i);
  else narrow_vector(x, static_cast<Bfloat16*>(copy.values) + i);
}
void write(const HalfCopy&, int64_t, Doubles) {}

template <class T> AdamStep<Simd<T>> broadcast_step(const AdamStep<T>& s) {
  return {broadcast(s.rate), broadcast(s.beta1), broadcast(s.beta2), broadcast(s.epsilon), broadcast(s.correct2)};
}

}  // namespace

template <class T> void adam_cpu(const Adam<T>& params, int64_t n, int threads) {
  const auto step = broadcast_step(params.step());
  parallel_for(n, kValuesPerChunk, threads, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kLanes<T> <= end; i += kLanes<T>) {
      const Simd<T> gradient = load(params.gradient + i);
      if (any(gradient != Simd<T>{})) update_vector(params, step, gradient, i);
    }
    for (; i < end; ++i) params(i);
  });
}

// Entries that share a vector are updated together, where those without a gradient stay as they are; where features fill a vector
// and a part of another, the last one overlaps the one before. The vectors to update are listed a group ahead, so that memory has
// time to deliver them, and without a branch for each: it would be guessed wrong as often as right.
template <class T> void adam_touched_cpu(const AdamTouched<T>& params, int64_t num_entries, int threads) {
  const auto step = broadcast_step(params.adam.step());
  const int64_t features = params.features, entries_per_vector = kLanes<T> % features == 0 ? kLanes<T> / features : 1;
  const int64_t length = entries_per_vector * features;
  struct Listed {
    int64_t first[kGroup], count = 0;
  };
  const auto list = [&](int64_t group, Listed* listed) {
    uint8_t* touched = params.touched + group;
    listed->count = 0;
    for (int64_t entry = 0; entry < kGroup; entry += entries_per_vector) {
      uint8_t flag = 0;
      for (int64_t e = 0; e < entries_per_vector; ++e) flag |= touched[entry + e];
      listed->first[listed->count] = (group + entry) * features;
      listed->count += flag != 0;
    }
    for (int64_t k = 0; k < listed->count; ++k)
      for (const T* values : std::initializer_list<const T*>{params.gradient, params.adam.param, params.adam.first, params.adam.second})
        __builtin_prefetch(values + listed->first[k], 1);
    std::memset(touched, 0, kGroup);
  };
  parallel_for(num_entries, kEntriesPerChunk, threads, [&](int64_t begin, int64_t end) {
    const int64_t groups_end = begin + (end - begin) / kGroup * kGroup;
    Listed lists[2], *now = lists, *next = lists + 1;
    if (begin < groups_end) list(begin, now);
    for (int64_t group = begin; group < groups_end; group += kGroup, std::swap(now, next)) {
      if (group + kGroup < groups_end) list(group + kGroup, next);
      for (int64_t k = 0; k < now->count; ++k) {
        const int64_t first = now->first[k], row_end = first + length;
        if (length < kLanes<T>) {
          for (int64_t i = first; i < row_end; ++i) params.update(i);
          continue;
        }
        for (int64_t i = first; i < row_end; i += kLanes<T>) {
          const int64_t at = min_of(i, row_end - kLanes<T>);  // of what it overlaps the gradient is zero by now
          write(params.copy, at, update_vector(params.adam, step, load(params.gradient + at), at));
          store(params.gradient + at, Simd<T>{});
        }
      }
    }
    for (int64_t entry = groups_end; entry < end; ++entry) params(entry);
  });
}

template void adam_cpu(const Adam<float>&, int64_t, int);
template void adam_cpu(const Adam<double>&, int64_t, int);
template void adam_touched_cpu(const AdamTouched<float>&, int64_t, int);
template void adam_touched_cpu(const AdamTouched<double>&, int64_t, int);

}  // namespace nerfcore

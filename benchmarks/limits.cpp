// What a machine allows, as one JSON object: limits THREADS [QUICK]. Rates are of all threads together, per second.
//
// copy_bytes          read plus written, by streaming stores, from one large array to another
// multiply_add_flops  fp32, two for a multiply-add, from registers to registers
// gather_8, _16       reads of 8 and 16 bytes at independent random places, by bytes of the table that all threads share
// scatter_8, _16      reads, adds and writes of as many at random places, by bytes of the table; each thread has its own
//
// A measurement lasts as long as the CPU time of the busiest thread, so that programs beside it disturb little; of
// several the shortest counts. Tables and arrays lie in large pages.
#include <omp.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#ifdef __AVX__
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
typedef float Vector __attribute__((vector_size(kVectorBytes)));
typedef float Float2 __attribute__((vector_size(8)));
typedef float Float4 __attribute__((vector_size(16)));

int threads, repeats = 7;
volatile float sink;  // results go here, so that the compiler cannot leave the work out

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// Seconds of body(thread) on all threads at once. The first run warms up.
template <class Body> double shortest(const Body& body) {
  double best = 1e30;
  for (int i = 0; i <= repeats; ++i) {
    double busiest = 0;
#pragma omp parallel num_threads(threads) reduction(max : busiest)
    {
#pragma omp barrier
      const double start = cpu_seconds();
      body(omp_get_thread_num());
      busiest = cpu_seconds() - start;
    }
    if (i > 0) best = std::min(best, busiest);
  }
  return best;
}

template <class T> T* allocate(size_t bytes) {
  const size_t page = size_t(2) << 20, rounded = (bytes + page - 1) / page * page;
  void* p = std::aligned_alloc(page, rounded);
  if (!p) std::abort();
#ifdef MADV_HUGEPAGE
  madvise(p, rounded, MADV_HUGEPAGE);
#endif
  std::fill_n(static_cast<float*>(p), rounded / sizeof(float), 1.f);
  return static_cast<T*>(p);
}

uint32_t hashed(uint32_t i) {
  i *= 2654435761u;
  i ^= i >> 15;
  i *= 805459861u;
  return i ^ (i >> 13);
}

// Calls visit(place, lane) for each of count random places, kLanes side by side; finding them costs next to nothing.
constexpr int kLanes = 8;
template <class Visit> void at_random(uint32_t mask, uint32_t first, int64_t count, const Visit& visit) {
  constexpr int kBlock = 64;
  uint32_t pattern[kBlock], place[kBlock];
  for (int j = 0; j < kBlock; ++j) pattern[j] = hashed(j + 1);
  for (int64_t i = 0; i < count; i += kBlock) {
    const uint32_t block = hashed(first + uint32_t(i));
    for (int j = 0; j < kBlock; ++j) place[j] = (pattern[j] ^ block) & mask;
    for (int j = 0; j < kBlock; j += kLanes)
#pragma GCC unroll 8
      for (int lane = 0; lane < kLanes; ++lane) visit(place[j + lane], lane);
  }
}

double copy_bytes(size_t bytes) {
  Vector *from = allocate<Vector>(bytes), *to = allocate<Vector>(bytes);
  const size_t share = bytes / sizeof(Vector) / threads;
  const double seconds = shortest([&](int thread) {
    for (size_t i = share * thread; i < share * (thread + 1); ++i) {
#if defined(__AVX512F__)
      _mm512_stream_ps(reinterpret_cast<float*>(to + i), from[i]);
#elif defined(__AVX__)
      _mm256_stream_ps(reinterpret_cast<float*>(to + i), from[i]);
#else
      to[i] = from[i];
#endif
    }
  });
  std::free(from), std::free(to);
  return 2.0 * double(share * sizeof(Vector) * threads) / seconds;
}

double multiply_add_flops(int64_t rounds) {
  constexpr int kChains = 16;  // covers the latency of the two units of today's cores
  const double seconds = shortest([&](int thread) {
    Vector x[kChains], factor = Vector{} + 0.999f, summand = Vector{} + 0.001f * float(thread);
    for (int c = 0; c < kChains; ++c) x[c] = Vector{} + float(c);
    for (int64_t i = 0; i < rounds; ++i)
      for (int c = 0; c < kChains; ++c) x[c] = x[c] * factor + summand;
    for (int c = 1; c < kChains; ++c) x[0] += x[c];
    sink = x[0][0];
  });
  return 2.0 * double(rounds) * kChains * (sizeof(Vector) / sizeof(float)) * threads / seconds;
}

template <class T> double gather_rate(size_t bytes, int64_t count) {
  const T* table = allocate<T>(bytes);
  const uint32_t mask = uint32_t(bytes / sizeof(T) - 1);
  const double seconds = shortest([&](int thread) {
    T sum[kLanes] = {};
    at_random(mask, uint32_t(count * thread), count, [&](uint32_t place, int lane) { sum[lane] += table[place]; });
    for (int lane = 1; lane < kLanes; ++lane) sum[0] += sum[lane];
    sink = sum[0][0];
  });
  std::free(const_cast<T*>(table));
  return double(count) * threads / seconds;
}

template <class T> double scatter_rate(size_t bytes, int64_t count) {
  T* tables = allocate<T>(bytes * threads);
  const uint32_t mask = uint32_t(bytes / sizeof(T) - 1);
  const double seconds = shortest([&](int thread) {
    T* table = tables + (bytes / sizeof(T)) * thread;
    at_random(mask, uint32_t(count * thread), count, [&](uint32_t place, int) { table[place] += 1e-3f; });
  });
  std::free(tables);
  return double(count) * threads / seconds;
}

template <class Rate> void print_by_bytes(const char* name, const Rate& rate) {
  std::printf(", \"%s\": {", name);
  for (int log2_bytes = 12; log2_bytes <= 26; log2_bytes += 2)
    std::printf("%s\"%zu\": %.4g", log2_bytes == 12 ? "" : ", ", size_t(1) << log2_bytes, rate(size_t(1) << log2_bytes));
  std::printf("}");
}

}  // namespace

int main(int argc, char** argv) {
  threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  const int less = argc > 2 ? 64 : 1;
  if (less > 1) repeats = 1;
  const int64_t count = (int64_t(1) << 22) / less;
  std::printf("{\"copy_bytes\": %.4g", copy_bytes((size_t(256) << 20) / less));
  std::printf(", \"multiply_add_flops\": %.4g", multiply_add_flops(2000000 / less));
  print_by_bytes("gather_8", [&](size_t bytes) { return gather_rate<Float2>(bytes, count); });
  print_by_bytes("gather_16", [&](size_t bytes) { return gather_rate<Float4>(bytes, count); });
  print_by_bytes("scatter_8", [&](size_t bytes) { return scatter_rate<Float2>(bytes, count); });
  print_by_bytes("scatter_16", [&](size_t bytes) { return scatter_rate<Float4>(bytes, count); });
  std::printf("}\n");
}

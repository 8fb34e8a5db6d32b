// Host-only facts about this build. Everything that touches a tensor is in bindings.cpp.
#include <omp.h>
#include <pybind11/pybind11.h>
#ifdef __linux__
#include <malloc.h>
#include <sys/mman.h>
#endif

namespace {

const char* simd_level() {
#if defined(__AVX512F__)
  return "avx512";
#elif defined(__AVX2__) && defined(__FMA__)
  return "avx2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "baseline";
#endif
}

pybind11::dict build_info() {
  pybind11::dict info;
  info["compiler"] = __VERSION__;
  info["simd"] = simd_level();
#ifdef _OPENMP
  info["openmp"] = _OPENMP;
#else
  info["openmp"] = 0;
#endif
  info["max_threads"] = omp_get_max_threads();
#ifdef NERFCORE_WITH_CUDA
  info["cuda"] = true;
#else
  info["cuda"] = false;
#endif
  return info;
}

// glibc gives every freed tensor of some megabytes back to the system and faults its pages in again at the next step, which took
// 40 % of a training step; raising its thresholds keeps freed memory for reuse in this process.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

// Large pages for memory that is read and written at random: a hash table of 16 MB has 4,000 small ones, more than the processor
// keeps track of. The system may refuse; nothing depends on it.
void use_huge_pages(uintptr_t address, size_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kPage = uintptr_t(1) << 21;
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, since Linux 6.1: at once, also for pages in use
  const uintptr_t begin = (address + kPage - 1) / kPage * kPage, end = (address + bytes) / kPage * kPage;
  if (begin >= end) return;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  madvise(reinterpret_cast<void*>(begin), end - begin, kCollapse);
#endif
}

int threads_used(int wanted) {
  int used = 0;
#pragma omp parallel num_threads(wanted)
#pragma omp atomic
  ++used;
  return used;
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  keep_freed_memory();
  m.doc() = "nerfcore kernels: build facts; the operations are torch.ops.nerfcore.*";
  m.def("build_info", &build_info, "Compiler, SIMD level, OpenMP version, threads, and whether CUDA kernels are inside.");
  m.def("use_huge_pages", &use_huge_pages, "Asks the system for large pages under `bytes` bytes from `address` on.");
  m.def("threads_used", &threads_used, "How many threads a parallel region that asks for `wanted` really gets.");
}

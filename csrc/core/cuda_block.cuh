// The thread block of a GPU, as core/warp_tile.h asks for it: one lane a thread, and the instructions of the tensor cores.
#pragma once
#include "core/warp_tile.h"

namespace nerfcore {

struct CudaBlock {
  template <class T> struct Lanes {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
    __device__ __forceinline__ const T& operator[](int) const { return value; }
  };

  template <class F> __device__ __forceinline__ void each(const F& f) const { f(int(threadIdx.x % kWarpLanes)); }
  __device__ __forceinline__ int warp() const { return int(threadIdx.x / kWarpLanes); }
  __device__ __forceinline__ int64_t index() const { return blockIdx.x; }
  __device__ __forceinline__ int64_t count() const { return gridDim.x; }
  __device__ __forceinline__ void sync() const { __syncthreads(); }

  // sum += a b^T of one step, columns 8 part to 8 part + 7.
  __device__ __forceinline__ void multiply(Bf16, Lanes<Floats4>& sum, const Lanes<Words4>& a, const Lanes<Words4>& b, int part) const {
#if __CUDA_ARCH__ >= 800
    float(&c)[4] = sum.value.c;
    const uint32_t *u = a.value.w, *v = b.value.w + part;
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(u[0]), "r"(u[1]), "r"(u[2]), "r"(u[3]), "r"(v[0]), "r"(v[2]));
#endif
  }
  __device__ __forceinline__ void multiply(Fp16, Lanes<Floats4>& sum, const Lanes<Words4>& a, const Lanes<Words4>& b, int part) const {
#if __CUDA_ARCH__ >= 800
    float(&c)[4] = sum.value.c;
    const uint32_t *u = a.value.w, *v = b.value.w + part;
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(u[0]), "r"(u[1]), "r"(u[2]), "r"(u[3]), "r"(v[0]), "r"(v[2]));
#endif
  }
  __device__ __forceinline__ void multiply(Tf32, Lanes<Floats4>& sum, const Lanes<Words4>& a, const Lanes<Words4>& b, int part) const {
#if __CUDA_ARCH__ >= 800
    float(&c)[4] = sum.value.c;
    const uint32_t *u = a.value.w, *v = b.value.w + part;
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(u[0]), "r"(u[1]), "r"(u[2]), "r"(u[3]), "r"(v[0]), "r"(v[2]));
#endif
  }

  // Four 8 x 8 matrices of 16-bit numbers in shared memory, transposed: lanes 8 i to 8 i + 7 give the addresses of the rows of matrix i.
  template <class F> __device__ __forceinline__ void load_transposed(Lanes<Words4>& out, const F& address) const {
    const uint32_t row = uint32_t(__cvta_generic_to_shared(address(int(threadIdx.x % kWarpLanes))));
    uint32_t(&w)[4] = out.value.w;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3]) : "r"(row) : "memory");
  }

  // Begins to copy 16 bytes from global to shared memory, past the registers; finish_copies() and sync() make them readable.
  __device__ __forceinline__ void begin_copy(Words4* to, const Words4* from) const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(uint32_t(__cvta_generic_to_shared(to))), "l"(from) : "memory");
#endif
  }
  __device__ __forceinline__ void finish_copies() const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" : : : "memory");
#endif
  }
};

}  // namespace nerfcore

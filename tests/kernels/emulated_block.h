// A thread block in software, as core/warp_tile.h asks for it: every warp is a thread of this process that walks over its 32 lanes, sync()
// is a barrier of these threads, and the instructions do what the PTX manual says of them (ISA 9.0: "Matrix Fragments for mma.m16n8k8" and
// "m16n8k16", "ldmatrix"), lane by lane. A sanitizer of threads thus sees a missing sync() as what it is.
#pragma once
#include "core/warp_tile.h"

#include <pthread.h>

#include <thread>
#include <vector>

namespace nerfcore {

// Number i of a register.
inline float number(Bf16, uint32_t word, int i) { return widen(Bfloat16{uint16_t(word >> 16 * i)}); }
inline float number(Fp16, uint32_t word, int i) { return widen(Float16{uint16_t(word >> 16 * i)}); }
inline float number(Tf32, uint32_t word, int) { return float_of_bits(word & ~0x1fffu); }  // the hardware does not look at the rest

class EmulatedBlock {
 public:
  template <class T> class Lanes {
   public:
    T& operator[](int lane) { return values[lane]; }
    const T& operator[](int lane) const { return values[lane]; }

   private:
    T values[kWarpLanes];
  };

  // Calls kernel(block) on every warp of every block, one block after another.
  template <class F> static void launch(int64_t blocks, int warps, const F& kernel) {
    for (int64_t index = 0; index < blocks; ++index) {
      pthread_barrier_t barrier;
      pthread_barrier_init(&barrier, nullptr, unsigned(warps));
      std::vector<std::thread> threads;
      for (int warp = 0; warp < warps; ++warp)
        threads.emplace_back([&, warp] { kernel(EmulatedBlock(index, blocks, warp, &barrier)); });
      for (std::thread& thread : threads) thread.join();
      pthread_barrier_destroy(&barrier);
    }
  }

  template <class F> void each(const F& f) const {
    for (int lane = 0; lane < kWarpLanes; ++lane) f(lane);
  }
  int warp() const { return warp_; }
  int64_t index() const { return index_; }
  int64_t count() const { return count_; }
  void sync() const { pthread_barrier_wait(barrier_); }

  // D = A B + D with A [16, depth], B [depth, 8], D [16, 8] gathered from the registers of the lanes.
  template <class P> void multiply(P p, Lanes<Floats4>& sum, const Lanes<Words4>& a, const Lanes<Words4>& b, int part) const {
    constexpr int kDepth = P::kBytes == 2 ? 16 : 8, kNumbers = 4 / P::kBytes;
    float left[16][kDepth], right[kDepth][8];
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      const int group = lane / 4, member = lane % 4;
      for (int i = 0; i < 4; ++i)
        for (int e = 0; e < kNumbers; ++e)
          left[group + 8 * (i % 2)][kNumbers * member + e + kDepth / 2 * (i / 2)] = number(p, a[lane].w[i], e);
      for (int i = 0; i < 2; ++i)
        for (int e = 0; e < kNumbers; ++e) right[kNumbers * member + e + kDepth / 2 * i][group] = number(p, b[lane].w[part + 2 * i], e);
    }
    for (int lane = 0; lane < kWarpLanes; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        float& d = sum[lane].c[i];
        for (int k = 0; k < kDepth; ++k) d += left[row][k] * right[k][column];
      }
  }

  template <class F> void load_transposed(Lanes<Words4>& out, const F& address) const {
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint16_t rows[8][8];
      for (int row = 0; row < 8; ++row) std::memcpy(rows[row], address(8 * matrix + row), 16);
      for (int lane = 0; lane < kWarpLanes; ++lane)
        out[lane].w[matrix] = rows[2 * (lane % 4)][lane / 4] | uint32_t(rows[2 * (lane % 4) + 1][lane / 4]) << 16;
    }
  }

  void begin_copy(Words4* to, const Words4* from) const { *to = *from; }
  void finish_copies() const {}

 private:
  EmulatedBlock(int64_t index, int64_t count, int warp, pthread_barrier_t* barrier)
      : index_(index), count_(count), warp_(warp), barrier_(barrier) {}

  int64_t index_, count_;
  int warp_;
  pthread_barrier_t* barrier_;
};

}  // namespace nerfcore

// Runs a CUDA kernel's own source on the CPU, block by block: what of CUDA kernels.cuh uses, and `launch`.
// With VOXTURN_SHIM_THREADS every CUDA thread is a thread, for sanitizers; else a fiber, which is faster and deterministic.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#define __global__ inline
#define __device__
#define __shared__ static

using std::isinf;
using std::isnan;

struct Index {
    unsigned x = 0;
};

inline thread_local Index threadIdx, blockIdx, blockDim, gridDim;

inline int32_t atomicCAS(int32_t *at, int32_t expected, int32_t value) {
    std::atomic_ref<int32_t>(*at).compare_exchange_strong(expected, value);
    return expected;
}

inline int32_t atomicAdd(int32_t *at, int32_t value) { return std::atomic_ref<int32_t>(*at).fetch_add(value); }

inline uint32_t atomicOr(uint32_t *at, uint32_t bits) { return std::atomic_ref<uint32_t>(*at).fetch_or(bits); }

#ifdef VOXTURN_SHIM_THREADS

#include <barrier>
#include <thread>

inline std::barrier<> *block_barrier = nullptr;
inline thread_local bool left_block = false;

inline void __syncthreads() { block_barrier->arrive_and_wait(); }

inline void launch(unsigned blocks, unsigned threads, const std::function<void()> &kernel) {
    for (unsigned block = 0; block < blocks; ++block) {
        std::barrier<> barrier(threads);
        block_barrier = &barrier;
        std::vector<std::thread> running;
        for (unsigned thread = 0; thread < threads; ++thread)
            running.emplace_back([&, thread] {
                threadIdx.x = thread, blockIdx.x = block, blockDim.x = threads, gridDim.x = blocks;
                kernel();
                barrier.arrive_and_drop();  // a thread that has returned is waited for no more
            });
        for (auto &each : running) each.join();
    }
}

#else

#include <ucontext.h>

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool over = false;
};

inline ucontext_t block_context;
inline Fiber *current_fiber = nullptr;
inline const std::function<void()> *current_kernel = nullptr;

inline void __syncthreads() { swapcontext(&current_fiber->context, &block_context); }

inline void fiber_main() {
    (*current_kernel)();
    current_fiber->over = true;
}

inline void launch(unsigned blocks, unsigned threads, const std::function<void()> &kernel) {
    constexpr size_t kStack = 64 << 10;
    current_kernel = &kernel;
    for (unsigned block = 0; block < blocks; ++block) {
        std::vector<Fiber> fibers(threads);
        for (auto &fiber : fibers) {
            fiber.stack = std::make_unique<char[]>(kStack);
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.get();
            fiber.context.uc_stack.ss_size = kStack;
            fiber.context.uc_link = &block_context;
            makecontext(&fiber.context, fiber_main, 0);
        }
        for (bool any = true; any;) {  // from one __syncthreads to the next, each in turn
            any = false;
            for (unsigned thread = 0; thread < threads; ++thread) {
                if (fibers[thread].over) continue;
                any = true;
                current_fiber = &fibers[thread];
                threadIdx.x = thread, blockIdx.x = block, blockDim.x = threads, gridDim.x = blocks;
                swapcontext(&block_context, &current_fiber->context);
            }
        }
    }
}

#endif

// How many threads of the block say yes; each of them hears it.
inline int __syncthreads_count(int yes) {
    static std::atomic<int> count = 0;
    count += yes != 0;
    __syncthreads();
    const int all = count;
    __syncthreads();
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    return all;
}

// The kernels on the CPU, with the interface of kernels.cu: for tests. In place of a stream comes the number of threads.

#include "cpushim.h"

#include "kernels.cuh"

extern "C" {

int voxturn_sample(const voxturn::Step *step, const voxturn::Sampling *samplings, unsigned batch, uintptr_t threads) {
    launch(batch, unsigned(threads), [&] { voxturn::sample(*step, samplings); });
    return 0;
}

int voxturn_advance(const voxturn::Place *place, unsigned batch, uintptr_t threads) {
    launch((batch + unsigned(threads) - 1) / unsigned(threads), unsigned(threads),
           [&] { voxturn::advance(*place, batch); });
    return 0;
}

int voxturn_pcm16(const float *samples, const float *before, int16_t *out, int64_t size, int64_t fade,
                  uintptr_t threads) {
    launch(3, unsigned(threads), [&] { voxturn::pcm16(samples, before, out, size, fade); });
    return 0;
}
}

// The kernels for callers in C (ctypes): device pointers in, cudaError_t out, everything in the given stream.

#include "kernels.cuh"

extern "C" {

int voxturn_sample(const voxturn::Step *step, const voxturn::Sampling *samplings, unsigned batch, cudaStream_t stream) {
    voxturn::sample<<<batch, voxturn::kMostThreads, 0, stream>>>(*step, samplings);
    return int(cudaGetLastError());
}

int voxturn_advance(const voxturn::Place *place, unsigned batch, cudaStream_t stream) {
    voxturn::advance<<<(batch + 31) / 32, 32, 0, stream>>>(*place, batch);
    return int(cudaGetLastError());
}

int voxturn_pcm16(const float *samples, const float *before, int16_t *out, int64_t size, int64_t fade,
                  cudaStream_t stream) {
    const int64_t blocks = (size + 255) / 256;
    voxturn::pcm16<<<unsigned(blocks < 1 ? 1 : blocks < 1024 ? blocks : 1024), 256, 0, stream>>>(samples, before, out, size,
                                                                                                fade);
    return int(cudaGetLastError());
}
}

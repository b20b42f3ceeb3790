// CUDA kernels: the sampler of voxturn.runtime.decode.sampler, token for token, and PCM for the loudspeaker.
// That module's docstring is the sampler's specification. The same source runs on the CPU under cpushim.h.
#pragma once

#include <cstdint>

namespace voxturn {

constexpr int kMostCandidates = 1024;      // of top-k; without top-k the host samples
constexpr int kMostVocabulary = 163840;    // a bit each in shared memory
constexpr int kMostThreads = 256;

enum Status : int32_t { kDone = 0, kNan = 1, kNotFinite = 2, kBadHistory = 3, kUnsupported = 4 };

// How one sequence's tokens are chosen, and where its input ids lie: first + stride * n + token for its n-th.
struct Sampling {
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k, follow_first, follow_stride;
    uint64_t seed;
};

// What a step reads and writes for every sequence. `history` has room for one more token after `history_count`.
struct Step {
    const float *logits;           // [B, vocabulary]
    int64_t *history;              // [B, history_room]
    int64_t *history_count;        // [B]
    uint64_t *counter;             // [B] tokens chosen so far: the counter of the random numbers
    const int64_t *stops;          // [stop_count]
    int64_t *token, *input_id;     // [B] the chosen token, and the input id of the next step
    int32_t *stopped, *status;     // [B]
    int64_t vocabulary, history_room, stop_count;
};

// Where every sequence's next token goes in its buffers, and which positions it sees: those whose mask is zero.
struct Place {
    int64_t *write_index, *positions;  // [B]; a graph without rotary positions has no `positions`
    unsigned char *mask;               // [B, capacity] numbers of `item` bytes
    int64_t capacity, item;
};

__device__ inline double uniform(uint64_t seed, uint64_t counter) {
    uint32_t x[4] = {uint32_t(counter), uint32_t(counter >> 32), 0, 0};
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t(0xD2511F53u) * x[0], b = uint64_t(0xCD9E8D57u) * x[2];
        const uint32_t y0 = uint32_t(b >> 32) ^ x[1] ^ k0, y1 = uint32_t(b);
        const uint32_t y2 = uint32_t(a >> 32) ^ x[3] ^ k1, y3 = uint32_t(a);
        x[0] = y0, x[1] = y1, x[2] = y2, x[3] = y3;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (double(x[0] >> 5) * 67108864.0 + double(x[1] >> 6)) / 9007199254740992.0;
}

// Greatest logit first, ties to the lower id.
__device__ inline bool before(double a, int64_t id, double b, int64_t other) {
    return a != b ? a > b : id < other;
}

// One block a sequence, any number of threads up to kMostThreads.
__global__ void sample(Step step, const Sampling *samplings) {
    __shared__ uint32_t seen[(kMostVocabulary + 31) / 32];
    __shared__ double best_logit[kMostThreads];
    __shared__ int64_t best_id[kMostThreads];
    __shared__ double chosen_logit[kMostCandidates];
    __shared__ int32_t chosen_id[kMostCandidates];
    __shared__ int32_t problem;

    const int64_t b = blockIdx.x, size = step.vocabulary, thread = threadIdx.x, threads = blockDim.x;
    const Sampling s = samplings[b];
    const float *logits = step.logits + b * size;
    int64_t *history = step.history + b * step.history_room;
    const int64_t count = step.history_count[b];
    const bool greedy = s.temperature == 0.0;
    const int64_t candidates = greedy ? 1 : s.top_k < size ? s.top_k : size;
    const bool penalised = s.repetition_penalty != 1.0;

    if (thread == 0)
        problem = size > kMostVocabulary || candidates < 1 || candidates > kMostCandidates || count >= step.history_room
                      ? kUnsupported
                      : kDone;
    for (int64_t i = thread; i < (size + 31) / 32 && i < (kMostVocabulary + 31) / 32; i += threads) seen[i] = 0;
    __syncthreads();
    if (problem == kUnsupported) {
        if (thread == 0) step.status[b] = kUnsupported;
        return;
    }
    for (int64_t i = thread; i < size; i += threads)
        if (isnan(logits[i])) atomicCAS(&problem, kDone, kNan);
    if (penalised)
        for (int64_t i = thread; i < count; i += threads) {
            const int64_t id = history[i];
            if (id < 0 || id >= size)
                atomicCAS(&problem, kDone, kBadHistory);
            else
                atomicOr(&seen[id / 32], 1u << (id % 32));
        }
    __syncthreads();
    if (problem != kDone) {
        if (thread == 0) step.status[b] = problem;
        return;
    }

    // the candidates in order, one reduction each: behind the last one found
    double last_logit = 0;
    int64_t last_id = -1;
    for (int64_t found = 0; found < candidates; ++found) {
        double logit = 0;
        int64_t id = -1;
        for (int64_t i = thread; i < size; i += threads) {
            const double raw = double(logits[i]);
            const bool counts = penalised && (seen[i / 32] >> (i % 32) & 1u);
            const double value = !counts ? raw : raw < 0 ? raw * s.repetition_penalty : raw / s.repetition_penalty;
            const bool left = last_id < 0 || before(last_logit, last_id, value, i);
            if (left && (id < 0 || before(value, i, logit, id))) logit = value, id = i;
        }
        best_logit[thread] = logit, best_id[thread] = id;
        __syncthreads();
        for (int64_t width = 1; width < threads; width *= 2) {
            const int64_t other = thread + width;
            if (thread % (2 * width) == 0 && other < threads && best_id[other] >= 0 &&
                (best_id[thread] < 0 ||
                 before(best_logit[other], best_id[other], best_logit[thread], best_id[thread])))
                best_logit[thread] = best_logit[other], best_id[thread] = best_id[other];
            __syncthreads();
        }
        last_logit = best_logit[0], last_id = best_id[0];
        if (thread == 0) chosen_logit[found] = last_logit, chosen_id[found] = int32_t(last_id);
        __syncthreads();
    }
    if (thread != 0) return;
    if (isinf(chosen_logit[0])) {
        step.status[b] = kNotFinite;
        return;
    }

    // sums in the order of the specification: one thread, at most kMostCandidates additions
    int64_t token = chosen_id[0];
    if (!greedy) {
        const double greatest = chosen_logit[0];
        double total = 0;
        for (int64_t i = 0; i < candidates; ++i) total += exp((chosen_logit[i] - greatest) / s.temperature);
        double sum = 1.0;  // of the first, exp(0)
        int64_t kept = 1;
        while (kept < candidates) {
            const double weight = exp((chosen_logit[kept] - greatest) / s.temperature);
            if (!(sum < s.top_p * total) || weight < s.min_p) break;
            sum += weight;
            ++kept;
        }
        const double target = uniform(s.seed, step.counter[b]) * sum;
        double reached = 0;
        token = chosen_id[kept - 1];
        for (int64_t i = 0; i < kept; ++i) {
            reached += exp((chosen_logit[i] - greatest) / s.temperature);
            if (reached > target) {
                token = chosen_id[i];
                break;
            }
        }
    }
    bool stop = false;
    for (int64_t i = 0; i < step.stop_count; ++i) stop = stop || step.stops[i] == token;
    step.counter[b] += 1;
    step.token[b] = token;
    step.input_id[b] = s.follow_first + s.follow_stride * int64_t(step.counter[b]) + token;
    step.stopped[b] = stop;
    if (!stop) {
        history[count] = token;
        step.history_count[b] = count + 1;
    }
    step.status[b] = kDone;
}

// One position on, once the token for it is chosen. A thread a sequence; one whose buffers are full stays where it is.
__global__ void advance(Place place, int64_t batch) {
    const int64_t b = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (b >= batch) return;
    const int64_t at = place.write_index[b] + 1;
    if (at >= place.capacity) return;
    place.write_index[b] = at;
    if (place.positions != nullptr) place.positions[b] = at;
    for (int64_t i = 0; i < place.item; ++i) place.mask[(b * place.capacity + at) * place.item + i] = 0;
}

// A chunk as 16-bit PCM; its first `fade` samples are mixed with `before`, what the chunk before had there.
__global__ void pcm16(const float *samples, const float *before_samples, int16_t *out, int64_t size, int64_t fade) {
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += int64_t(gridDim.x) * blockDim.x) {
        float value = samples[i];
        if (i < fade) {
            const float share = (float(i) + 0.5f) / float(fade);
            value = before_samples[i] * (1.0f - share) + value * share;
        }
        value = value < -1.0f ? -1.0f : value > 1.0f ? 1.0f : value;
        out[i] = int16_t(rintf(value * 32767.0f));
    }
}

}  // namespace voxturn

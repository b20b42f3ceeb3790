// CUDA kernels: the sampler of voxturn.runtime.decode.sampler, token for token, and PCM for the loudspeaker.
// That module's docstring is the sampler's specification. The same source runs on the CPU under cpushim.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace voxturn {

constexpr int kMostCandidates = 1024;      // of top-k; without top-k the host samples
constexpr int kMostVocabulary = 163840;    // a bit each in shared memory
constexpr int kMostThreads = 512;
constexpr int kRoom = 1280;                // for what is left after pruning: top-k and a few more

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
__device__ inline bool before(double a, int id, double b, int other) {
    return a != b ? a > b : id < other;
}

// A logit under the repetition penalty, as the specification has it.
__device__ inline double penalised(float raw, bool counts, double penalty) {
    const double value = double(raw);
    return !counts ? value : value < 0 ? value * penalty : value / penalty;
}

// A number that is not greater for what is not greater; made without doubles for a logit that no penalty changes.
__device__ inline uint32_t coarse(float raw, bool counts, double penalty) {
    float value = raw;
    if (counts) {
        const double exact = penalised(raw, counts, penalty);
        value = float(exact);
        if (double(value) > exact) value = nextafterf(value, -INFINITY);
    }
    value += 0.0f;  // -0 is 0
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

// Every logit once, by the threads of a block: `use(logit, whether the penalty counts, id)`. Several loads are in flight.
template <class Use>
__device__ inline void each(const float *logits, int size, const uint32_t *seen, Use use) {
    constexpr int kLoads = 8;
    const int threads = int(blockDim.x);
    for (int begin = int(threadIdx.x); begin < size; begin += kLoads * threads) {
        float raw[kLoads];
        for (int n = 0; n < kLoads; ++n) raw[n] = begin + n * threads < size ? logits[begin + n * threads] : 0.0f;
        for (int n = 0; n < kLoads; ++n) {
            const int id = begin + n * threads;
            if (id < size) use(raw[n], (seen[id / 32] >> (id % 32) & 1u) != 0, id);
        }
    }
}

// One block a sequence, any number of threads up to kMostThreads.
__global__ void sample(Step step, const Sampling *samplings) {
    __shared__ uint32_t seen[(kMostVocabulary + 31) / 32];
    __shared__ double left_logit[kRoom];
    __shared__ int32_t left_id[kRoom];
    __shared__ double chosen_logit[kMostCandidates];
    __shared__ int32_t chosen_id[kMostCandidates];
    __shared__ int32_t problem, left;

    const int64_t b = blockIdx.x, vocabulary = step.vocabulary;
    const int thread = int(threadIdx.x), threads = int(blockDim.x);
    const int size = vocabulary > kMostVocabulary ? 0 : int(vocabulary);
    const Sampling s = samplings[b];
    const float *logits = step.logits + b * vocabulary;
    int64_t *history = step.history + b * step.history_room;
    const int64_t count = step.history_count[b];
    const bool greedy = s.temperature == 0.0;
    const int candidates = greedy ? 1 : s.top_k < size ? int(s.top_k) : size;
    const double penalty = s.repetition_penalty;

    if (thread == 0) {
        left = 0;
        problem = size < 1 || candidates < 1 || candidates > kMostCandidates || count >= step.history_room
                      ? kUnsupported
                      : kDone;
    }
    for (int i = thread; i < (size + 31) / 32; i += threads) seen[i] = 0;
    __syncthreads();
    if (problem == kUnsupported) {
        if (thread == 0) step.status[b] = kUnsupported;
        return;
    }
    if (penalty != 1.0)
        for (int64_t i = thread; i < count; i += threads) {
            const int64_t id = history[i];
            if (id < 0 || id >= size)
                atomicCAS(&problem, kDone, kBadHistory);
            else
                atomicOr(&seen[id / 32], 1u << (id % 32));
        }
    __syncthreads();

    // pruning: no candidate is below the k-th greatest of the threads' greatest logits, and little else is not
    uint32_t greatest_here = 0;
    each(logits, size, seen, [&](float raw, bool counts, int) {
        if (isnan(raw)) atomicCAS(&problem, kDone, kNan);
        const uint32_t value = coarse(raw, counts, penalty);
        if (value > greatest_here) greatest_here = value;
    });
    uint32_t edge = 0;
    for (int bit = 31; bit >= 0; --bit) {
        const uint32_t higher = edge | 1u << bit;
        if (__syncthreads_count(greatest_here >= higher) >= candidates) edge = higher;
    }
    if (problem != kDone) {
        if (thread == 0) step.status[b] = problem;
        return;
    }
    each(logits, size, seen, [&](float raw, bool counts, int id) {
        if (coarse(raw, counts, penalty) < edge) return;
        const int32_t at = atomicAdd(&left, 1);
        if (at < kRoom) left_logit[at] = penalised(raw, counts, penalty), left_id[at] = id;
    });
    __syncthreads();

    // the candidates in order
    if (left <= kRoom) {
        for (int i = thread; i < left; i += threads) {
            int rank = 0;
            for (int other = 0; other < left; ++other)
                rank += before(left_logit[other], left_id[other], left_logit[i], left_id[i]);
            if (rank < candidates) chosen_logit[rank] = left_logit[i], chosen_id[rank] = left_id[i];
        }
    } else {  // a great many are equal, or all great ones one thread's: one reduction each, behind the last one found
        double last_logit = 0;
        int last_id = -1;
        for (int found = 0; found < candidates; ++found) {
            double logit = 0;
            int best = -1;
            each(logits, size, seen, [&](float raw, bool counts, int id) {
                const double value = penalised(raw, counts, penalty);
                const bool behind = last_id < 0 || before(last_logit, last_id, value, id);
                if (behind && (best < 0 || before(value, id, logit, best))) logit = value, best = id;
            });
            __syncthreads();
            left_logit[thread] = logit, left_id[thread] = best;
            __syncthreads();
            for (int width = 1; width < threads; width *= 2) {
                const int other = thread + width;
                if (thread % (2 * width) == 0 && other < threads && left_id[other] >= 0 &&
                    (left_id[thread] < 0 ||
                     before(left_logit[other], left_id[other], left_logit[thread], left_id[thread])))
                    left_logit[thread] = left_logit[other], left_id[thread] = left_id[other];
                __syncthreads();
            }
            last_logit = left_logit[0], last_id = left_id[0];
            if (thread == 0) chosen_logit[found] = last_logit, chosen_id[found] = last_id;
        }
    }
    __syncthreads();
    const double greatest = chosen_logit[0];
    __syncthreads();
    if (isinf(greatest)) {
        if (thread == 0) step.status[b] = kNotFinite;
        return;
    }
    double *const weight = chosen_logit;
    if (!greedy)
        for (int i = thread; i < candidates; i += threads)
            weight[i] = exp((chosen_logit[i] - greatest) / s.temperature);
    __syncthreads();
    if (thread != 0) return;

    // sums in the order of the specification: one thread, at most kMostCandidates additions
    int64_t token = chosen_id[0];
    if (!greedy) {
        double total = 0;
        for (int i = 0; i < candidates; ++i) total += weight[i];
        double sum = 1.0;  // of the first, exp(0)
        int kept = 1;
        while (kept < candidates && sum < s.top_p * total && !(weight[kept] < s.min_p)) sum += weight[kept++];
        const double target = uniform(s.seed, step.counter[b]) * sum;
        double reached = 0;
        token = chosen_id[kept - 1];
        for (int i = 0; i < kept; ++i) {
            reached += weight[i];
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
        value = rintf(value * 32768.0f);
        out[i] = int16_t(value < -32768.0f ? -32768.0f : value > 32767.0f ? 32767.0f : value);
    }
}

}  // namespace voxturn

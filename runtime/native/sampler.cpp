// The sampler of voxturn.runtime.decode.sampler, token for token. That module's docstring is the specification.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

namespace nb = nanobind;

namespace {

struct Candidate {
    double logit;
    int64_t id;
};

bool before(const Candidate &a, const Candidate &b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); first two words as 53 bits.
double uniform(uint64_t seed, uint64_t counter) {
    uint32_t x[4] = {uint32_t(counter), uint32_t(counter >> 32), 0, 0};
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t(0xD2511F53u) * x[0], b = uint64_t(0xCD9E8D57u) * x[2];
        const uint32_t y[4] = {uint32_t(b >> 32) ^ x[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ x[3] ^ k1, uint32_t(a)};
        std::copy(y, y + 4, x);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (double(x[0] >> 5) * 67108864.0 + double(x[1] >> 6)) / 9007199254740992.0;
}

using Logits = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

int64_t sample(Logits logits, Ids history, double temperature, int64_t top_k, double top_p, double min_p,
               double repetition_penalty, uint64_t seed, uint64_t counter) {
    const int64_t size = int64_t(logits.shape(0));
    std::vector<Candidate> all(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
        const double value = double(logits.data()[i]);
        if (std::isnan(value)) throw std::invalid_argument("logits hold NaN");
        all[size_t(i)] = {value, i};
    }
    if (repetition_penalty != 1.0) {
        for (size_t i = 0; i < history.shape(0); ++i) {
            const int64_t id = history.data()[i];
            if (id < 0 || id >= size) throw std::invalid_argument("history holds an id outside the vocabulary");
            const double raw = double(logits.data()[id]);  // from the raw logit, so that a repeated id counts once
            all[size_t(id)].logit = raw < 0 ? raw * repetition_penalty : raw / repetition_penalty;
        }
    }
    if (all.empty()) throw std::invalid_argument("no logit is finite");
    const Candidate best = *std::min_element(all.begin(), all.end(), before);
    if (std::isinf(best.logit)) throw std::invalid_argument("no logit is finite");
    if (temperature == 0.0) return best.id;
    const size_t keep = top_k > 0 ? std::min(size_t(top_k), all.size()) : all.size();
    std::partial_sort(all.begin(), all.begin() + std::ptrdiff_t(keep), all.end(), before);
    all.resize(keep);

    std::vector<double> weights(keep), sums(keep);
    double total = 0;
    for (size_t i = 0; i < keep; ++i) {
        weights[i] = std::exp((all[i].logit - best.logit) / temperature);
        sums[i] = total += weights[i];
    }
    size_t kept = 1;
    while (kept < keep && sums[kept - 1] < top_p * total && weights[kept] >= min_p) ++kept;

    const double target = uniform(seed, counter) * sums[kept - 1];
    const auto chosen = std::upper_bound(sums.begin(), sums.begin() + std::ptrdiff_t(kept), target);
    return all[std::min(size_t(chosen - sums.begin()), kept - 1)].id;
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native parts of voxturn.runtime; each has a numpy twin that is its specification.";
    m.def("uniform", &uniform, nb::arg("seed"), nb::arg("counter"));
    m.def("sample", &sample, nb::arg("logits"), nb::arg("history"), nb::arg("temperature"), nb::arg("top_k"),
          nb::arg("top_p"), nb::arg("min_p"), nb::arg("repetition_penalty"), nb::arg("seed"), nb::arg("counter"),
          nb::call_guard<nb::gil_scoped_release>());
}

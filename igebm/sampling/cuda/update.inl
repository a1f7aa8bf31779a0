// The kernels themselves, in what nvcc and the tests' imitation of a device (tests/device.h) both read. They are right
// for any number of threads a block, a power of two.

/// Four elements of a chain's noise at its step: random.h's element i is word i % 4 of counter i / 4.
__device__ inline void four_normals(const Settings& s, std::uint32_t counter, std::int64_t stream, std::int64_t step,
                                    float (&n)[4]) {
  const PhiloxWords words = philox_at(counter, stream & ~negated_stream, step, s.key_0, s.key_1);
  philox_normals(words.a, words.b, n[0], n[1]);
  philox_normals(words.c, words.d, n[2], n[3]);
  if ((stream & negated_stream) == 0) return;
  for (float& number : n) number = -number;
}

constexpr int update_threads = 256;  // at most

__device__ inline void block_sums(double& square, int& clips, double* squares, int* counts) {
  squares[threadIdx.x] = square;
  counts[threadIdx.x] = clips;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      squares[threadIdx.x] += squares[threadIdx.x + half];
      counts[threadIdx.x] += counts[threadIdx.x + half];
    }
  }
  __syncthreads();
  square = squares[0];
  clips = counts[0];
}

/// A block for each chain.
__global__ void update_kernel(UpdateArguments u) {
  __shared__ double squares[update_threads];
  __shared__ int counts[update_threads];
  const Settings s = *u.settings;
  const std::uint32_t chain = blockIdx.x;
  const auto first = static_cast<std::int64_t>(chain) * u.elements;
  const float* gradient = u.gradient + first;
  float* x = u.x + first;
  const bool* fixed = u.fixed != nullptr ? u.fixed + first : nullptr;
  double square = 0;
  int clips = 0;
  for (std::uint32_t i = threadIdx.x; i < u.elements; i += blockDim.x) {
    const float g = fixed != nullptr && fixed[i] ? 0.0F : gradient[i];
    square += static_cast<double>(g) * static_cast<double>(g);
    clips += g > s.rule.clip || g < -s.rule.clip ? 1 : 0;
  }
  block_sums(square, clips, squares, counts);
  const float energy = u.energy[chain];
  // 0 for finite numbers alone; squares of floats do not overflow a double.
  const bool good = (energy - energy) + (square - square) == 0.0;
  const float sigma = u.sigma != nullptr ? *u.sigma : 0.0F;
  const std::int64_t stream = u.stream[chain], step = u.steps[chain];
  for (std::uint32_t c = threadIdx.x; good && 4 * c < u.elements; c += blockDim.x) {
    float n[4] = {0, 0, 0, 0};
    if (sigma > 0) four_normals(s, c, stream, step, n);
    for (std::uint32_t w = 0; w < 4 && 4 * c + w < u.elements; ++w) {
      const std::uint32_t i = 4 * c + w;
      if (fixed == nullptr || !fixed[i]) x[i] = stepped(s.rule, x[i], gradient[i], sigma, n[w]);
    }
  }
  if (!good && u.before != nullptr) {
    for (std::uint32_t i = threadIdx.x; i < u.elements; i += blockDim.x) x[i] = u.before[first + i];
  }
  __syncthreads();  // every thread has read its chain's step
  if (threadIdx.x != 0) return;
  u.steps[chain] = step + 1;
  ChainSums& sums = u.sums[chain];
  sums.stopped_before += sums.stopped;
  sums.stopped = good ? 0 : 1;
  sums.square = good ? square : 0;
  sums.energy = good ? energy : 0;
  sums.clipped = good ? clips : 0;
}

__global__ void add_noise_kernel(UpdateArguments u) {
  const Settings s = *u.settings;
  const std::uint32_t chain = blockIdx.x;
  const float sigma = *u.sigma;
  const auto first = static_cast<std::int64_t>(chain) * u.elements;
  float *x = u.x + first, *before = u.before + first;
  for (std::uint32_t c = threadIdx.x; 4 * c < u.elements; c += blockDim.x) {
    float n[4] = {0, 0, 0, 0};
    if (sigma > 0) four_normals(s, c, u.stream[chain], u.steps[chain], n);
    for (std::uint32_t w = 0; w < 4 && 4 * c + w < u.elements; ++w) {
      const std::uint32_t i = 4 * c + w;
      before[i] = x[i];
      if (sigma > 0 && (u.fixed == nullptr || !u.fixed[first + i])) x[i] += sigma * n[w];
    }
  }
}

// The kernels themselves, in what nvcc and the tests' imitation of a device (tests/device.h) both read. They are right
// for any number of threads a block, a power of two, and any number of blocks.
//
// T is the type of values, with to_float and from_float; V of them are read at once.

template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T at[V];
};

template <typename T, int V>
__device__ void load(const void* from, std::uint32_t pack, float (&out)[V]) {
  const Pack<T, V> p = static_cast<const Pack<T, V>*>(from)[pack];
  for (int v = 0; v < V; ++v) out[v] = to_float(p.at[v]);
}

template <typename T, int V>
__device__ void store(void* to, std::uint32_t pack, const float (&values)[V]) {
  Pack<T, V> p;
  for (int v = 0; v < V; ++v) p.at[v] = from_float<T>(values[v]);
  static_cast<Pack<T, V>*>(to)[pack] = p;
}

__device__ inline float sigmoid(float z) { return 1.0F / (1.0F + exp_float(-z)); }

__device__ inline float activated(Activation activation, float slope, float z) {
  if (activation == Activation::silu) return z * sigmoid(z);
  return activation == Activation::leaky_relu && z < 0 ? slope * z : z;
}

__device__ inline float derivative(Activation activation, float slope, float z) {
  if (activation == Activation::silu) {
    const float s = sigmoid(z);
    return s * (1.0F + z * (1.0F - s));
  }
  return activation == Activation::leaky_relu && z <= 0 ? slope : 1.0F;
}

template <typename T, int V>
__global__ void epilogue_kernel(EpilogueArguments e) {
  const std::uint32_t across = e.channels / V, packs = e.samples * e.pixels * across;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += gridDim.x * blockDim.x) {
    const std::uint32_t pixel = i / across, channel = (i - pixel * across) * V,
                        row = pixel / e.pixels * e.channels + channel;
    float z[V], y[V], add[V] = {};
    load<T>(e.a, i, z);
    if (e.add != nullptr) load<T>(e.add, i, add);
    for (int v = 0; v < V; ++v) {
      if (e.bias != nullptr) z[v] += e.bias[channel + v];
      if (e.label_bias != nullptr) z[v] += e.label_bias[row + v];
      if (e.label_gain != nullptr) z[v] *= 1.0F + e.label_gain[row + v];
      z[v] += add[v];
    }
    if (e.z != nullptr) {
      store<T>(e.z, i, z);
      // The gradient sees the rounded value; so does the activation.
      for (int v = 0; v < V; ++v) z[v] = to_float(from_float<T>(z[v]));
    }
    for (int v = 0; v < V; ++v) y[v] = activated(e.activation, e.slope, z[v]);
    store<T>(e.y, i, y);
  }
}

template <typename T, int V>
__global__ void activation_gradient_kernel(ActivationGradientArguments g) {
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < g.count / V; i += gridDim.x * blockDim.x) {
    float z[V], first[V], second[V] = {};
    load<T>(g.z, i, z);
    load<T>(g.first, i, first);
    if (g.second != nullptr) load<T>(g.second, i, second);
    for (int v = 0; v < V; ++v) first[v] = (first[v] + second[v]) * derivative(g.activation, g.slope, z[v]);
    store<T>(g.out, i, first);
  }
}

__device__ inline float silu_curvature(float z) {
  const float s = sigmoid(z);
  return s * (1.0F - s) * (2.0F + z * (1.0F - 2.0F * s));
}

template <typename T, int V>
__global__ void block_sums_kernel(BlockArguments b) {
  const std::uint32_t across = b.channels / V, row = b.width * across, packs = b.samples * b.height * row;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += gridDim.x * blockDim.x) {
    const std::uint32_t line = i / row, place = i - line * row, x = place / across, c = place - x * across;
    float sum[V] = {}, in[V];
    for (std::uint32_t dy = 0; dy < b.k; ++dy) {
      for (std::uint32_t dx = 0; dx < b.k; ++dx) {
        load<T>(b.in, ((line * b.k + dy) * b.width * b.k + x * b.k + dx) * across + c, in);
        for (int v = 0; v < V; ++v) sum[v] += in[v];
      }
    }
    for (int v = 0; v < V; ++v) sum[v] *= b.scale;
    store<T>(b.out, i, sum);
  }
}

template <typename T, int V>
__global__ void spread_kernel(BlockArguments b) {
  const std::uint32_t across = b.channels / V, row = b.width * b.k * across, packs = b.samples * b.height * b.k * row;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += gridDim.x * blockDim.x) {
    const std::uint32_t line = i / row, place = i - line * row, x = place / across, c = place - x * across;
    float value[V];
    load<T>(b.in, (line / b.k * b.width + x / b.k) * across + c, value);
    for (int v = 0; v < V; ++v) value[v] *= b.scale;
    store<T>(b.out, i, value);
  }
}

/// The sum over the block, for every thread.
__device__ inline float block_sum(float value, float* shared) {
  shared[threadIdx.x] = value;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  __syncthreads();
  const float sum = shared[0];
  __syncthreads();  // before the memory is used again
  return sum;
}

constexpr int group_norm_threads = 256;  // at most

/// Where the packs of a group of a sample lie.
template <int V>
struct Group {
  std::uint32_t across, packs, stride, start, channel;  // packs a pixel, in all, between pixels; the first; its channel
  template <typename Arguments>
  __device__ Group(const Arguments& n, std::uint32_t block) {
    const std::uint32_t channels = n.channels / n.groups, sample = block / n.groups, group = block - sample * n.groups;
    across = channels / V;
    packs = across * n.pixels;
    stride = n.channels / V;
    start = sample * n.pixels * stride + group * across;
    channel = group * channels;
  }
  __device__ std::uint32_t pack(std::uint32_t j) const { return start + j / across * stride + j % across; }
  __device__ std::uint32_t channel_of(std::uint32_t j) const { return channel + j % across * V; }
};

/// A block for each group of each sample: mean, variance about it, result.
template <typename T, int V>
__global__ void group_norm_kernel(GroupNormArguments n) {
  __shared__ float shared[group_norm_threads];
  const Group<V> g(n, blockIdx.x);
  const auto count = static_cast<float>(g.packs * V);
  float x[V], sum = 0;
  for (std::uint32_t j = threadIdx.x; j < g.packs; j += blockDim.x) {
    load<T>(n.x, g.pack(j), x);
    for (int v = 0; v < V; ++v) sum += x[v];
  }
  const float mean = block_sum(sum, shared) / count;
  sum = 0;
  for (std::uint32_t j = threadIdx.x; j < g.packs; j += blockDim.x) {
    load<T>(n.x, g.pack(j), x);
    for (int v = 0; v < V; ++v) sum += (x[v] - mean) * (x[v] - mean);
  }
  const float reciprocal = 1.0F / sqrt_float(block_sum(sum, shared) / count + 1e-5F);
  for (std::uint32_t j = threadIdx.x; j < g.packs; j += blockDim.x) {
    const std::uint32_t channel = g.channel_of(j);
    load<T>(n.x, g.pack(j), x);
    for (int v = 0; v < V; ++v) {
      const float z = (x[v] - mean) * reciprocal * n.weight[channel + v] + n.bias[channel + v];
      x[v] = n.silu != 0 ? z * sigmoid(z) : z;
    }
    store<T>(n.out, g.pack(j), x);
  }
  if (threadIdx.x == 0) {
    n.mean[blockIdx.x] = mean;
    n.reciprocal[blockIdx.x] = reciprocal;
  }
}

/// With h = (x - mean) r and q = dE/dy silu'(z) weight: dE/dx = r (q - mean(q) - h mean(q h)).
template <typename T, int V>
__global__ void group_norm_gradient_kernel(GroupNormArguments n) {
  __shared__ float shared[group_norm_threads];
  const Group<V> g(n, blockIdx.x);
  const auto count = static_cast<float>(g.packs * V);
  const float mean = n.mean[blockIdx.x], reciprocal = n.reciprocal[blockIdx.x];
  float h[V], q[V], second[V] = {}, sum = 0, product = 0;
  const auto read = [&](std::uint32_t j) {
    const std::uint32_t channel = g.channel_of(j);
    load<T>(n.x, g.pack(j), h);
    load<T>(n.first, g.pack(j), q);
    if (n.second != nullptr) load<T>(n.second, g.pack(j), second);
    for (int v = 0; v < V; ++v) {
      q[v] += second[v];
      h[v] = (h[v] - mean) * reciprocal;
      if (n.silu != 0) q[v] *= derivative(Activation::silu, 0, h[v] * n.weight[channel + v] + n.bias[channel + v]);
      q[v] *= n.weight[channel + v];
    }
  };
  for (std::uint32_t j = threadIdx.x; j < g.packs; j += blockDim.x) {
    read(j);
    for (int v = 0; v < V; ++v) {
      sum += q[v];
      product += q[v] * h[v];
    }
  }
  sum = block_sum(sum, shared) / count;
  product = block_sum(product, shared) / count;
  for (std::uint32_t j = threadIdx.x; j < g.packs; j += blockDim.x) {
    read(j);
    for (int v = 0; v < V; ++v) q[v] = reciprocal * (q[v] - sum - h[v] * product);
    store<T>(n.out, g.pack(j), q);
  }
}

/// With h = (x - mean) r, its derivative is r (dot - mean(dot) - h mean(h dot)).
template <typename T, int V>
__global__ void group_norm_tangent_kernel(GroupNormTangentArguments n) {
  __shared__ float shared[group_norm_threads];
  const Group<V> g(n, blockIdx.x);
  const auto count = static_cast<float>(g.packs * V);
  const float mean = n.mean[blockIdx.x], reciprocal = n.reciprocal[blockIdx.x];
  float x[V], dot[V], sum = 0, product = 0;
  for (std::uint32_t j = threadIdx.x; j < g.packs; j += blockDim.x) {
    load<T>(n.x, g.pack(j), x);
    load<T>(n.dot, g.pack(j), dot);
    for (int v = 0; v < V; ++v) {
      sum += dot[v];
      product += dot[v] * (x[v] - mean) * reciprocal;
    }
  }
  sum = block_sum(sum, shared) / count;
  product = block_sum(product, shared) / count;
  for (std::uint32_t j = threadIdx.x; j < g.packs; j += blockDim.x) {
    const std::uint32_t channel = g.channel_of(j);
    load<T>(n.x, g.pack(j), x);
    load<T>(n.dot, g.pack(j), dot);
    for (int v = 0; v < V; ++v) {
      const float h = (x[v] - mean) * reciprocal, weight = n.weight[channel + v];
      dot[v] = weight * reciprocal * (dot[v] - sum - h * product);
      if (n.silu != 0) dot[v] *= derivative(Activation::silu, 0, h * weight + n.bias[channel + v]);
    }
    store<T>(n.out, g.pack(j), dot);
  }
  if (threadIdx.x == 0) {
    n.mean_dot[blockIdx.x] = sum;
    n.product[blockIdx.x] = product;
  }
}

/// The derivative of group_norm_gradient_kernel's result, and of the gradients of weight and bias. A thread keeps to
/// the channels of its first pack: threads beyond the last whole row of packs wait.
template <typename T, int V>
__global__ void group_norm_gradient_tangent_kernel(GroupNormTangentArguments n) {
  __shared__ float shared[group_norm_threads];
  const Group<V> g(n, blockIdx.x);
  const auto count = static_cast<float>(g.packs * V);
  const std::uint32_t stride = blockDim.x / g.across * g.across, channel = g.channel_of(threadIdx.x);
  const std::uint32_t start = threadIdx.x < stride ? threadIdx.x : g.packs;
  const float mean = n.mean[blockIdx.x], reciprocal = n.reciprocal[blockIdx.x], mean_dot = n.mean_dot[blockIdx.x],
              along_dot = n.product[blockIdx.x];
  // Of each element: the normalised x, the gradient of what weight multiplies, and their derivatives.
  float h[V], h_dot[V], q[V], q_dot[V], more[V];
  const auto add = [&](const void* from, std::uint32_t j, float(&to)[V]) {
    if (from == nullptr) return;
    load<T>(from, g.pack(j), more);
    for (int v = 0; v < V; ++v) to[v] += more[v];
  };
  const auto read = [&](std::uint32_t j) {
    load<T>(n.x, g.pack(j), h);
    load<T>(n.dot, g.pack(j), h_dot);
    for (int v = 0; v < V; ++v) q[v] = q_dot[v] = 0;
    add(n.first, j, q);
    add(n.second, j, q);
    add(n.first_dot, j, q_dot);
    add(n.second_dot, j, q_dot);
    for (int v = 0; v < V; ++v) {
      h[v] = (h[v] - mean) * reciprocal;
      h_dot[v] = reciprocal * (h_dot[v] - mean_dot - h[v] * along_dot);
      if (n.silu == 0) continue;
      const float weight = n.weight[channel + v], y = h[v] * weight + n.bias[channel + v],
                  slope = derivative(Activation::silu, 0, y);
      q_dot[v] = q_dot[v] * slope + q[v] * silu_curvature(y) * h_dot[v] * weight;
      q[v] *= slope;
    }
  };
  float of_weight[V], of_bias[V], sum = 0, along = 0, sum_dot = 0, moved = 0;
  for (int v = 0; v < V; ++v) of_weight[v] = of_bias[v] = 0;
  for (std::uint32_t j = start; j < g.packs; j += stride) {
    read(j);
    for (int v = 0; v < V; ++v) {
      const float weight = n.weight[channel + v], product_dot = q_dot[v] * h[v] + q[v] * h_dot[v];
      of_weight[v] += product_dot;
      of_bias[v] += q_dot[v];
      sum += q[v] * weight;
      along += q[v] * h[v] * weight;
      sum_dot += q_dot[v] * weight;
      moved += product_dot * weight;
    }
  }
  sum = block_sum(sum, shared) / count;
  along = block_sum(along, shared) / count;
  sum_dot = block_sum(sum_dot, shared) / count;
  moved = block_sum(moved, shared) / count;
  for (std::uint32_t j = start; j < g.packs; j += stride) {
    read(j);
    for (int v = 0; v < V; ++v) {
      const float weight = n.weight[channel + v];
      const float flat = q[v] * weight - sum - h[v] * along;
      q_dot[v] =
          reciprocal * (q_dot[v] * weight - sum_dot - h_dot[v] * along - h[v] * moved - reciprocal * along_dot * flat);
    }
    store<T>(n.out, g.pack(j), q_dot);
  }
  // Of each channel, the sum over the threads that kept to it.
  const std::uint32_t row = blockIdx.x / n.groups * n.channels;
  for (int v = 0; v < V; ++v) {
    for (const bool weights : {true, false}) {
      shared[threadIdx.x] = weights ? of_weight[v] : of_bias[v];
      __syncthreads();
      if (threadIdx.x < g.across) {
        float total = 0;
        for (std::uint32_t t = threadIdx.x; t < stride; t += g.across) total += shared[t];
        (weights ? n.of_weight : n.of_bias)[row + channel + static_cast<std::uint32_t>(v)] = total;
      }
      __syncthreads();
    }
  }
}

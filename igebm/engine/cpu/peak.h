#pragma once

namespace igebm::engine::cpu {

/// Operations a second of the direct 3 x 3 convolution where it is fastest (32 channels of 14 x 14), on
/// `threads` threads: what this machine's arithmetic units give, as a yardstick. limit: as of kernels().
double convolution_peak(int threads, const char* limit = "");
/// The same of the direct convolution by matrix tiles in bfloat16 (64 channels); 0 where the processor has none.
double tile_peak(int threads);

}  // namespace igebm::engine::cpu

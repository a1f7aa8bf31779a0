#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

namespace igebm::serve {

/// One after another, in the order of asking: the engine computes for one at a time, on a thread of its own, so that
/// what computing keeps for a thread is there once, and not for each connection's.
class Turns {
 public:
  explicit Turns(std::size_t most) : most_(most), engine_([this](const std::stop_token& stop) { compute(stop); }) {}

  /// Calls `work`, on another thread, when all who asked before are done. Before that, twice a second and at first,
  /// `waiting` is told how many are before; where it returns false the place is given up. False where it was, or, at
  /// once, where `most` wait already (`waiting` is not called then).
  bool take(const std::function<bool(std::size_t before)>& waiting, const std::function<void()>& work) {
    std::unique_lock lock(mutex_);
    if (queue_.size() >= most_) return false;
    const std::uint64_t mine = next_++;
    queue_.push_back(mine);
    const auto leave = [&] {
      queue_.erase(std::find(queue_.begin(), queue_.end(), mine));
      changed_.notify_all();
    };
    while (queue_.front() != mine) {
      const auto before = static_cast<std::size_t>(std::find(queue_.begin(), queue_.end(), mine) - queue_.begin());
      lock.unlock();
      const bool stays = waiting(before);
      lock.lock();
      if (!stays) return leave(), false;
      changed_.wait_for(lock, std::chrono::milliseconds(500), [&] { return queue_.front() == mine; });
    }
    std::packaged_task<void()> task(work);
    std::future<void> done = task.get_future();
    task_ = std::move(task);
    lock.unlock();
    handed_.notify_one();
    done.wait();
    lock.lock();
    leave();
    lock.unlock();
    done.get();  // throws what the work threw
    return true;
  }

  bool full() {
    const std::scoped_lock lock(mutex_);
    return queue_.size() >= most_;
  }

 private:
  void compute(const std::stop_token& stop) {
    while (true) {
      std::packaged_task<void()> task;
      {
        std::unique_lock lock(mutex_);
        if (!handed_.wait(lock, stop, [this] { return task_.valid(); })) return;
        task = std::move(task_);
        task_ = {};
      }
      task();
    }
  }

  std::size_t most_;
  std::mutex mutex_;
  std::condition_variable_any handed_;
  std::packaged_task<void()> task_;  // of whose turn it is, until the engine takes it
  std::condition_variable changed_;
  std::deque<std::uint64_t> queue_;
  std::uint64_t next_ = 0;
  std::jthread engine_;  // last: it uses the rest
};

}  // namespace igebm::serve

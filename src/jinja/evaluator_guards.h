#pragma once

// Guards of one evaluation, private to evaluator*.cc.

#include <memory>
#include <utility>

#include "jinja/evaluator.h"

namespace glimpse::jinja {

// A scope for the length of a block. If a macro was made inside, the scope outlives the block.
class Evaluator::ScopeGuard {
 public:
  ScopeGuard(Evaluator& evaluator, Scope* parent)
      : evaluator_(evaluator), outer_(evaluator.scope_), scope_(std::make_unique<Scope>()) {
    scope_->parent = parent;
    evaluator_.scope_ = scope_.get();
  }
  ~ScopeGuard() {
    evaluator_.scope_ = outer_;
    if (scope_->captured) evaluator_.captured_.push_back(std::move(scope_));
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

  // A fresh scope in the same place, for the next turn of a loop.
  void renew() {
    if (!scope_->captured) {
      scope_->names.clear();
      return;
    }
    auto fresh = std::make_unique<Scope>();
    fresh->parent = scope_->parent;
    evaluator_.captured_.push_back(std::exchange(scope_, std::move(fresh)));
    evaluator_.scope_ = scope_.get();
  }

 private:
  Evaluator& evaluator_;
  Scope* outer_;
  std::unique_ptr<Scope> scope_;
};

class Evaluator::DepthGuard {
 public:
  explicit DepthGuard(int& depth) : depth_(depth) { ++depth_; }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  int& depth_;
};

}  // namespace glimpse::jinja

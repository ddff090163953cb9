#pragma once

// Asio as this folder uses it. Beast's parser and WebSocket are included by connection.cc and websocket_stream.cc only:
// they take long to compile.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace glimpse {

namespace asio = boost::asio;
using boost::system::error_code;

template <typename T = void>
using Task = asio::awaitable<T>;

}  // namespace glimpse

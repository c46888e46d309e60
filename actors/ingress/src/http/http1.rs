//! HTTP/1 of one client. While it asks for nothing there is no parser: what a parser has of buffers
//! and timers is made anew with the next request.

use super::client::{Client, Socket};
use super::connection::{Peer, answer, silence};
use super::driver::{Config, Phase};
use super::worker::Worker;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use tokio::io::AsyncWriteExt;

const HEADER_BYTES: usize = 32 * 1024;
const HEADERS: usize = 100;

/// Serves a connection until it ends.
pub(super) async fn serve<S: Socket>(worker: Rc<Worker>, stream: S, peer: Peer) {
    let (pulse, peer) = (peer.pulse.clone(), Rc::new(peer));
    let (header, idle) = (worker.shared.config.header_timeout, worker.shared.config.idle_timeout);
    let mut client = Client::new(stream, pulse.clone(), header, idle);
    let mut stopping = pin!(Phase::stopping(worker.phase.clone()));
    loop {
        // A box for each request is less than room for one in each connection.
        let service = {
            let (worker, peer) = (worker.clone(), peer.clone());
            service_fn(move |request| Box::pin(answer(worker.clone(), peer.clone(), request)))
        };
        let io = TokioIo::new(client);
        let connection = parser(&worker.shared.config).serve_connection(io, service);
        let mut connection = Box::new(connection.with_upgrades());
        // `None` when the client has been silent for a while.
        let ended = poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if pulse.takes_rest() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let ended = tokio::select! {
            ended = ended => ended,
            () = stopping.as_mut() => {
                // Of a client that has asked for nothing yet the parser would not read what is there.
                if pulse.begun() > 0 {
                    Pin::new(&mut *connection).graceful_shutdown();
                }
                Some(tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = silence(&pulse) => Ok(()),
                })
            }
        };
        if let Some(Err(error)) = &ended {
            tracing::debug!(%error, "a client's connection broke");
        }
        let Some(parts) = connection.into_parts().filter(|_| ended.is_none()) else { return };
        client = parts.io.into_inner();
        client.rest(&parts.read_buf);
        peer.told.take();
        let speaks = tokio::select! {
            speaks = client.speaks() => speaks,
            () = stopping.as_mut() => false,
        };
        if !speaks {
            // It may be gone.
            let _ = client.shutdown().await;
            return;
        }
    }
}

fn parser(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        // The client's own bounds are tighter. This one is for what they do not see.
        .header_read_timeout(config.idle_timeout + config.header_timeout)
        .max_headers(HEADERS)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(2 * HEADER_BYTES);
    builder
}

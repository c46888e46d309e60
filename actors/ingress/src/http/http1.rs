//! HTTP/1 of one client. While it asks for nothing there is no parser: what a parser has of buffers
//! and timers is made anew with the next request.

use super::client::{Client, Limits, Socket};
use super::connection::{Peer, answer, silence};
use super::driver::Phase;
use super::worker::Worker;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use tokio::io::AsyncWriteExt;

const HEADER_BYTES: usize = 32 * 1024;
const HEADERS: usize = 100;

/// Serves a connection until it ends.
pub(super) async fn serve<S: Socket>(worker: Rc<Worker>, stream: S, peer: Peer) {
    let peer = Rc::new(peer);
    let config = &worker.shared.config;
    let (header, idle) = (config.header_timeout, config.idle_timeout);
    let limits = Limits { header, idle, clock: config.clock };
    let mut client = Client::new(stream, peer.pulse.clone(), limits);
    let mut stopping = pin!(Phase::stopping(worker.phase.clone()));
    loop {
        // In a box, as are all that requests need: it goes when there are none.
        let busy = Box::pin(requests(worker.clone(), peer.clone(), client, stopping.as_mut()));
        client = match busy.await {
            Some(client) => client,
            None => return,
        };
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

/// Answers requests until the client is silent for a while. `None` when the connection is over.
async fn requests<S: Socket>(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    client: Client<S>,
    mut stopping: Pin<&mut impl Future<Output = ()>>,
) -> Option<Client<S>> {
    let (pulse, builder) = (peer.pulse.clone(), parser());
    let service = service_fn(move |request| answer(worker.clone(), peer.clone(), request));
    let connection = builder.serve_connection(TokioIo::new(client), service);
    let mut connection = connection.with_upgrades();
    let ended = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if pulse.takes_rest() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let ended = tokio::select! {
        ended = ended => ended,
        () = stopping.as_mut() => {
            // Of a client that has asked for nothing yet the parser would not read what is there.
            if pulse.begun() > 0 {
                Pin::new(&mut connection).graceful_shutdown();
            }
            Some(tokio::select! {
                ended = &mut connection => ended,
                () = silence(&pulse) => Ok(()),
            })
        }
    };
    match ended {
        None => {
            let parts = connection.into_parts()?;
            let mut client = parts.io.into_inner();
            client.rest(&parts.read_buf);
            return Some(client);
        }
        Some(Err(error)) => tracing::debug!(%error, "a client's connection broke"),
        Some(Ok(())) => {}
    }
    None
}

fn parser() -> Builder {
    let mut builder = Builder::new();
    builder
        // The client's own bounds are all there is to wait for: it hands over whole headers.
        .header_read_timeout(None)
        .max_headers(HEADERS)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(2 * HEADER_BYTES);
    builder
}

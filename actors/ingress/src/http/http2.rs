//! A client's HTTP/2 connection, and the executor of all connections of HTTP/2.

use super::bell::Bell;
use super::connection::{self, HANDSHAKE, Peer};
use super::counters::count;
use super::driver::Phase;
use super::pulse::Pulse;
use super::watched::Watched;
use super::worker::Worker;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// It takes no more requests.
    Told,
    /// Nothing was asked for so long.
    Idle,
}

/// Serves a connection until it ends.
pub(super) async fn serve<S>(worker: Rc<Worker>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let shared = worker.shared.clone();
    let phase = worker.phase.clone();
    let (pulse, client) = (peer.pulse.clone(), peer.client);
    let peer = Rc::new(peer);
    let watched = Watched::new(stream, shared.config.clock);
    // Tasks are copied several times before they run, so they hold no more than a box.
    let service = service_fn(move |request| {
        Box::pin(connection::answer(worker.clone(), peer.clone(), request))
    });
    let io = TokioIo::new(watched.clone());
    let mut connection = pin!(builder().serve_connection(io, service));
    let mut over = pin!(over(&pulse, phase.clone(), shared.config.idle_timeout));
    let bell = Bell::new();
    let over = poll_fn(|cx| bell.poll(cx, |cx| over.as_mut().poll(cx)));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        over = over => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = enough(over, &pulse, phase) => Ok(()),
            }
        }
    };
    if let Some(flood) = watched.flood() {
        count(&shared.counters.floods);
        tracing::info!(client = %client, ?flood, "a client sent too many frames and was cut off");
        watched.part().await;
    } else if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}

fn builder() -> hyper::server::conn::http2::Builder<Local> {
    let mut builder = hyper::server::conn::http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(64 * 1024)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(200)
        .enable_connect_protocol();
    builder
}

/// Returns when the connection is to end.
async fn over(pulse: &Pulse, phase: watch::Receiver<Phase>, idle: Duration) -> Over {
    let idle = async {
        loop {
            let begun = pulse.begun();
            tokio::time::sleep(idle).await;
            if pulse.running() == 0 && pulse.begun() == begun {
                return;
            }
        }
    };
    tokio::select! {
        () = pulse.ended() => Over::Told,
        () = Phase::draining(phase) => Over::Told,
        () = idle => Over::Idle,
    }
}

/// Returns when an end has taken too long.
async fn enough(over: Over, pulse: &Pulse, phase: watch::Receiver<Phase>) {
    match over {
        Over::Idle => tokio::time::sleep(HANDSHAKE).await,
        Over::Told => {
            Phase::stopping(phase).await;
            connection::silence(pulse).await;
        }
    }
}

/// Runs the futures of a connection on its worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

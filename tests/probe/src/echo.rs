//! TCP and UDP echo: every byte and every datagram comes back to its sender.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;

use crate::serve::Counters;
use crate::watch::packet::path_of_payload;

/// The largest UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

pub(crate) fn serve_tcp(listener: TcpListener, counters: Arc<Counters>) -> io::Result<()> {
    thread::Builder::new().name("tcp-echo".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            counters.tcp_connections.fetch_add(1, Ordering::Relaxed);
            // A connection that cannot get a thread is closed; the client sees that.
            let _closed = thread::Builder::new().spawn(move || echo_stream(stream));
        }
    })?;
    Ok(())
}

fn echo_stream(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

pub(crate) fn serve_udp(socket: UdpSocket, counters: Arc<Counters>) -> io::Result<()> {
    thread::Builder::new().name("udp-echo".into()).spawn(move || {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        // A receive error belongs to one peer (its port was unreachable): the next one may work.
        loop {
            if let Ok((count, peer)) = socket.recv_from(&mut buffer) {
                counters.udp_datagrams.fetch_add(1, Ordering::Relaxed);
                if let Some(path) = path_of_payload(&buffer[..count]) {
                    let mut watched =
                        counters.watched.lock().unwrap_or_else(PoisonError::into_inner);
                    *watched.entry(path).or_insert(0) += 1;
                }
                let _lost = socket.send_to(&buffer[..count], peer);
            }
        }
    })?;
    Ok(())
}

//! Client modes: what a test asks from inside a container that has no other tools.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use crate::http::body::{Body, Framing};
use crate::http::head::{Head, bad};
use crate::http::url::Url;

/// Largest answer that is read.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Text that is echoed when the user gave none.
const DEFAULT_TEXT: &str = "probe";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Prints the status line of a healthcheck; an error unless the answer is 2xx.
pub(crate) fn check(url: &str, timeout: Duration) -> Result<(), String> {
    let answer = fetch(url, timeout)?;
    if !answer.is_success() {
        return Err(format!("{url} answered {}", answer.status));
    }
    println!("{url} answered {}", answer.status);
    Ok(())
}

/// Prints the body; an error unless the answer is 2xx.
pub(crate) fn get(url: &str, timeout: Duration) -> Result<(), String> {
    let answer = fetch(url, timeout)?;
    io::stdout().write_all(&answer.body).map_err(|error| error.to_string())?;
    if answer.is_success() { Ok(()) } else { Err(format!("{url} answered {}", answer.status)) }
}

/// Sends one GET; `timeout` limits each network step.
pub(crate) fn fetch(url: &str, timeout: Duration) -> Result<Answer, String> {
    let url = Url::parse(url)?;
    let stream = connect(&url.authority, timeout)?;
    exchange(stream, &url).map_err(|error| format!("{}: {error}", url.authority))
}

fn exchange(mut stream: TcpStream, url: &Url) -> io::Result<Answer> {
    stream.write_all(
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: probe\r\nConnection: close\r\n\r\n",
            url.target, url.authority
        )
        .as_bytes(),
    )?;
    read_answer(&mut BufReader::new(stream))
}

fn read_answer(reader: &mut impl io::BufRead) -> io::Result<Answer> {
    let head = Head::read(reader)?.ok_or_else(|| bad("no answer"))?;
    let status = head.first_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| bad("wrong status line"))?;
    let framing = match status {
        204 | 304 => None,
        _ => Some(Framing::of(&head)?.unwrap_or(Framing::UntilEnd)),
    };
    let mut body = Vec::new();
    Body::new(reader, framing).take(BODY_BYTES_MAX).read_to_end(&mut body)?;
    Ok(Answer { status, body })
}

/// Connects and, with a text or over UDP, expects that text back; gives whom it reached.
pub(crate) fn dial(
    protocol: &str,
    address: &str,
    text: Option<&str>,
    timeout: Duration,
) -> Result<SocketAddr, String> {
    match protocol {
        "tcp" => dial_tcp(address, text, timeout),
        "udp" => dial_udp(address, text.unwrap_or(DEFAULT_TEXT), timeout),
        _ => return Err(format!("{protocol:?} is neither tcp nor udp")),
    }
    .map_err(|error| format!("{protocol} {address}: {error}"))
}

fn dial_tcp(address: &str, text: Option<&str>, timeout: Duration) -> Result<SocketAddr, String> {
    let mut stream = connect(address, timeout)?;
    let mut exchange = || -> io::Result<SocketAddr> {
        if let Some(text) = text {
            stream.write_all(text.as_bytes())?;
            let mut echo = vec![0; text.len()];
            stream.read_exact(&mut echo)?;
            expect_echo(&echo, text)?;
        }
        stream.peer_addr()
    };
    exchange().map_err(|error| error.to_string())
}

fn dial_udp(address: &str, text: &str, timeout: Duration) -> Result<SocketAddr, String> {
    let peer = addresses(address)?.into_iter().next().ok_or("no address")?;
    let exchange = || -> io::Result<()> {
        let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(peer)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.send(text.as_bytes())?;
        let mut buffer = vec![0; text.len() + 1];
        let count = socket.recv(&mut buffer)?;
        expect_echo(&buffer[..count], text)
    };
    exchange().map(|()| peer).map_err(|error| error.to_string())
}

fn expect_echo(echo: &[u8], text: &str) -> io::Result<()> {
    if echo == text.as_bytes() { Ok(()) } else { Err(bad("the echo differs")) }
}

/// Tries every address of a name in turn, as most clients do.
pub(crate) fn connect(address: &str, timeout: Duration) -> Result<TcpStream, String> {
    let mut last = "no address".to_owned();
    for candidate in addresses(address)? {
        let connected = TcpStream::connect_timeout(&candidate, timeout).and_then(|stream| {
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{candidate}: {error}"),
        }
    }
    Err(last)
}

fn addresses(address: &str) -> Result<Vec<SocketAddr>, String> {
    let found = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    Ok(found.collect())
}

/// Prints the addresses of a name in the order of the resolver, each once.
pub(crate) fn resolve(name: &str) -> Result<(), String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| format!("{name}: {error}"))?;
    let mut seen = Vec::new();
    for ip in found.map(|address| address.ip()) {
        if !seen.contains(&ip) {
            println!("{ip}");
            seen.push(ip);
        }
    }
    if seen.is_empty() { Err(format!("{name} has no address")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_every_framing_are_read() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi-more", 200, "hi"),
            (
                "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                503,
                "hi",
            ),
            ("HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end"),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ] {
            let answer = read_answer(&mut text.as_bytes()).unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (status, body.as_bytes()));
        }
        assert!(read_answer(&mut "nonsense\r\n\r\n".as_bytes()).is_err());
        assert!(read_answer(&mut "".as_bytes()).is_err());
    }
}

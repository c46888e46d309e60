//! The probe as a process: what its help promises, over real sockets and signals.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};

const PROBE: &str = env!("CARGO_BIN_EXE_jaco-probe");

struct Served {
    child: Child,
    http: String,
    tcp: String,
    udp: String,
}

impl Served {
    fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(PROBE)
            .envs([("PROBE_HTTP_PORT", "0"), ("PROBE_TCP_PORT", "0"), ("PROBE_UDP_PORT", "0")])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = |name: &str| {
            let value = line.split(name).nth(1).and_then(|rest| rest.split(' ').next());
            format!("127.0.0.1:{}", value.unwrap_or_else(|| panic!("{name} in {line:?}")))
        };
        Self { http: port("http="), tcp: port("tcp="), udp: port("udp="), child }
    }

    /// Sends raw bytes and reads up to the end of the connection.
    fn talk(&self, sent: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn request(&self, method: &str, target: &str, body: &str) -> String {
        self.talk(&format!(
            "{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn get(&self, target: &str) -> String {
        self.request("GET", target, "")
    }

    fn signal(mut self, name: &str) -> ExitStatus {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

fn probe(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROBE).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn one_connection_serves_many_requests() {
    let served = Served::start(&[]);
    let get = "GET /status/204 HTTP/1.1\r\nHost: h\r\n\r\n";
    let last = "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = served.talk(&format!("{get}{get}{last}"));
    assert_eq!(answer.matches("HTTP/1.1 204 No Content").count(), 2, "{answer}");
    assert!(answer.ends_with("Connection: close\r\n\r\n"), "{answer}");
}

#[test]
fn uploads_of_both_framings_are_counted_and_hashed() {
    let served = Served::start(&[]);
    let expected = "bytes: 3\nsha1: a9993e364706816aba3e25717850c26c9cd0d89d\n";
    assert!(served.request("POST", "/upload", "abc").ends_with(expected));
    let chunked = served.talk(
        "POST /upload HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    );
    assert!(chunked.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"), "{chunked}");
    assert!(chunked.ends_with(expected), "{chunked}");
    assert!(served.get("/counters").contains("upload_bytes: 6\n"));
}

#[test]
fn health_and_readiness_can_be_steered() {
    let served = Served::start(&[("PROBE_READY_AFTER_MS", "3600000")]);
    let url = format!("http://{}/health", served.http);
    assert!(served.get("/ready").starts_with("HTTP/1.1 503"));
    assert_eq!(probe(&["check", &url]).0, Some(0));
    assert!(served.request("POST", "/health/fail", "").starts_with("HTTP/1.1 200"));
    assert_eq!(probe(&["check", &url]).0, Some(1));
    assert!(served.request("POST", "/health/ok", "").starts_with("HTTP/1.1 200"));
    assert_eq!(probe(&["check", &url]).0, Some(0));
}

#[test]
fn streams_files_and_the_environment_are_served() {
    let served = Served::start(&[("PROBE_COLOUR", "blue")]);
    let events = served.talk("GET /sse?n=2&ms=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(events.contains("data: event 2\n\n"), "{events}");
    assert!(served.get("/env?name=PROBE_COLOUR").ends_with("\r\n\r\nblue"));
    assert!(served.get("/env?name=PROBE_NONE").starts_with("HTTP/1.1 404"));
    assert!(served.get("/").contains("env PROBE_COLOUR=blue\n"));

    let path = std::env::temp_dir().join(format!("jaco-probe-{}", std::process::id()));
    let target = format!("/file?path={}", path.display());
    assert!(served.get(&target).starts_with("HTTP/1.1 404"));
    assert!(served.request("POST", &target, "kept").ends_with("bytes: 4\n"));
    assert!(served.get(&target).ends_with("\r\n\r\nkept"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_web_socket_echoes() {
    let served = Served::start(&[]);
    let mut stream = TcpStream::connect(&served.http).unwrap();
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
              \x81\x82\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00",
        )
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(answer.ends_with(b"\r\n\r\n\x81\x02hi\x88\x00"), "{answer:?}");
}

#[test]
fn both_echoes_answer_the_dialling_client() {
    let served = Served::start(&[]);
    assert_eq!(probe(&["client", "dial", "tcp", &served.tcp]).0, Some(0));
    assert_eq!(probe(&["client", "dial", "tcp", &served.tcp, "text"]).0, Some(0));
    assert_eq!(probe(&["client", "dial", "udp", &served.udp, "text"]).0, Some(0));
    // A bound socket that never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut dial = Command::new(PROBE);
    dial.args(["client", "dial", "udp", &address]).env("PROBE_TIMEOUT_MS", "50");
    assert_eq!(dial.status().unwrap().code(), Some(1));
}

#[test]
fn signals_do_what_the_environment_says() {
    assert_eq!(Served::start(&[]).signal("-TERM").code(), Some(0));
    assert_eq!(Served::start(&[("PROBE_SIGTERM", "code:7")]).signal("-USR1").code(), Some(7));
    assert_eq!(Served::start(&[("PROBE_SIGTERM", "delay:20")]).signal("-TERM").code(), Some(0));
    let mut stubborn = Served::start(&[("PROBE_SIGTERM", "ignore")]);
    let sent = Command::new("kill").args(["-TERM", &stubborn.child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    assert!(stubborn.get("/health").starts_with("HTTP/1.1 200"));
    assert_eq!(stubborn.child.try_wait().unwrap(), None);
}

#[test]
fn exit_log_and_job_end_with_their_codes() {
    let mut served = Served::start(&[]);
    assert!(served.request("POST", "/exit?code=9", "").starts_with("HTTP/1.1 200"));
    assert_eq!(served.child.wait().unwrap().code(), Some(9));
    assert_eq!(probe(&["job", "1", "4"]).0, Some(4));
    let (code, printed) = probe(&["log", "3"]);
    assert_eq!((code, printed.lines().count()), (Some(0), 3));
    assert_eq!(probe(&["client", "resolve", "localhost"]).0, Some(0));
    assert_eq!(probe(&["nonsense"]).0, Some(2));
}

#[test]
fn broken_requests_get_400() {
    let served = Served::start(&[]);
    for sent in
        ["nonsense\r\n\r\n", "GET /delay?ms=x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]
    {
        assert!(served.talk(sent).starts_with("HTTP/1.1 400"), "{sent:?}");
    }
}

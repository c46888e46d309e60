//! The same bytes to the proxy in front of different servers: each request is refused, or the
//! server has read what we have read. A request's mark comes back to who sent it and nobody else.

use crate::messages::{Kind, Message, Messages};
use crate::servers::{Server, Which};
use crate::support::{PATIENCE, Proxy, table};
use crate::tap::Tap;
use crate::vectors::{self, Vector, Wanted};
use jaco_ingress::Config;
use jaco_ingress_core::Table;
use jaco_model::spec::RouteSpec;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A proxy, a server, and what listens between them.
pub(crate) struct Row {
    pub(crate) which: Which,
    pub(crate) proxy: Proxy,
    tap: Tap,
    _server: Server,
}

impl Row {
    pub(crate) async fn start(
        which: Which,
        config: impl FnOnce(&mut Config),
        spec: impl FnOnce(&mut RouteSpec),
    ) -> Row {
        let server = which.start().await;
        let tap = Tap::before(server.place.clone()).await;
        let proxy = Proxy::start(config);
        proxy.serve(table(&[Ipv4Addr::LOCALHOST], tap.address.port(), spec));
        Row { which, proxy, tap, _server: server }
    }

    /// Checks what was said between the proxy and the server; returns the requests. Whether the
    /// server `may_refuse` one for what has nothing to do with where it ends.
    pub(crate) async fn finish(self, may_refuse: bool) -> Vec<Message> {
        // A table without the service closes the idle connections to it.
        self.proxy.serve(Table::default());
        let (conversations, is_over) = self.tap.finish(PATIENCE).await;
        assert!(is_over, "{:?}: connections to the server stay open", self.which);
        let mut all = Vec::new();
        for conversation in conversations {
            let asked = Messages::read(&conversation.asked, Kind::Request);
            let answered = Messages::read(&conversation.answered, Kind::Response);
            let shown = || {
                let (asked, answered) = (&conversation.asked, &conversation.answered);
                let text = String::from_utf8_lossy;
                format!("{:?}\n{}\n{}", self.which, text(asked), text(answered))
            };
            assert_eq!(asked.fault, None, "{}", shown());
            let count = answered.finals().count();
            assert!(count <= asked.all.len(), "more answers than requests: {}", shown());
            for (asked, answered) in asked.all.iter().zip(answered.finals()) {
                let is_refused = may_refuse && answered.status() == 400;
                if asked.is_whole && !is_refused {
                    agree(self.which, asked, answered).unwrap_or_else(|why| {
                        panic!("{why}: {}", shown());
                    });
                }
            }
            all.extend(asked.all);
        }
        all
    }
}

/// Whether the server has read this request as it stands there.
fn agree(which: Which, asked: &Message, answered: &Message) -> Result<(), String> {
    if answered.status() == 400 {
        return Err(format!("the server does not understand {:?}", asked.line));
    }
    if answered.status() != 200 || !answered.is_whole {
        return Ok(());
    }
    reflects(which, answered, asked.target(), asked.body.len())
}

/// Whether an answer is that to a request for `target` with a body of that length. Servers write
/// some targets in another way, which says nothing about where requests end.
pub(crate) fn reflects(
    which: Which,
    answer: &Message,
    target: &str,
    length: usize,
) -> Result<(), String> {
    let text = answer.text();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/?=-".contains(&byte);
    let is_plain = target.bytes().all(is_plain) && !target.contains("//");
    let is_its = !is_plain || text.split(' ').nth(1) == Some(target);
    let has_all = !which.tells_length() || text.ends_with(&format!("\nbody {length}\n"));
    if is_its && has_all { Ok(()) } else { Err(format!("{text:.60?} to {target} with {length}")) }
}

pub(crate) fn request(mark: &str, more: &str) -> String {
    format!("GET /headers?m={mark} HTTP/1.1\r\nHost: a.test\r\n{more}\r\n")
}

/// Sends bytes and reads up to the end, or up to so many answers.
pub(crate) async fn talk(to: SocketAddr, bytes: &[u8], answers: usize) -> Messages {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let _ = stream.write_all(bytes).await;
    read(&mut stream, answers).await
}

async fn read(stream: &mut TcpStream, answers: usize) -> Messages {
    let mut got = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let reading = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        let Ok(count) = reading else {
            let fault = Some("neither an answer nor an end");
            return Messages { fault, ..Messages::read(&got, Kind::Response) };
        };
        // A reset after the answer is an end too.
        let Ok(count @ 1..) = count else { break };
        got.extend_from_slice(&buffer[..count]);
        let so_far = Messages::read(&got, Kind::Response);
        if so_far.finals().filter(|message| message.is_whole).count() >= answers {
            return so_far;
        }
    }
    Messages::read(&got, Kind::Response)
}

/// A client that behaves, on one connection for long.
struct Honest {
    stream: TcpStream,
    count: u32,
}

impl Honest {
    async fn connect(to: SocketAddr) -> Honest {
        Honest { stream: TcpStream::connect(to).await.unwrap(), count: 0 }
    }

    async fn ask(&mut self, which: Which) {
        self.count += 1;
        let mark = format!("honest-{}", self.count);
        self.stream.write_all(request(&mark, "").as_bytes()).await.unwrap();
        let answers = read(&mut self.stream, 1).await;
        assert_eq!(answers.all.len(), 1, "{mark}: {answers:?}");
        reflects(which, &answers.all[0], &format!("/headers?m={mark}"), 0).unwrap();
    }
}

/// Requests around the one in question.
#[derive(Clone, Copy, Debug)]
struct Around {
    before: bool,
    after: bool,
}

async fn try_one(row: &Row, vector: &Vector, around: Around, at: usize) -> Result<(), String> {
    let mark = format!("v{at}-{}{}", u8::from(around.before), u8::from(around.after));
    let (before, after) = (format!("before-{mark}"), format!("after-{mark}"));
    let mut bytes = vector.bytes.replace("{m}", &mark);
    let mut wanted = Vec::new();
    if around.before {
        bytes = request(&before, "") + &bytes;
        wanted.push((before, 0));
    }
    let is_last = match vector.wanted {
        Wanted::Refused => true,
        Wanted::Served(length) | Wanted::Last(length) => {
            wanted.push((mark, length));
            matches!(vector.wanted, Wanted::Last(_))
        }
    };
    if around.after {
        bytes += &request(&after, "Connection: close\r\n");
        if !is_last {
            wanted.push((after, 0));
        }
    }
    let count = wanted.len() + usize::from(vector.wanted == Wanted::Refused);
    // A served one alone leaves its connection open.
    let most = if is_last || around.after { usize::MAX } else { count };
    let answers = talk(row.proxy.http, &bytes.into_bytes(), most).await;
    let fault = answers.fault;
    let answers: Vec<&Message> = answers.finals().collect();
    let told: Vec<String> =
        answers.iter().map(|it| format!("{} {:.60}", it.line, it.text())).collect();
    let wrong = |why: &str| format!("{:?}, {around:?}: {why}: {told:?}\n", vector.name);
    if let Some(fault) = fault {
        return Err(wrong(fault));
    }
    if answers.len() != count {
        return Err(wrong("number of answers"));
    }
    for (answer, (mark, length)) in answers.iter().zip(&wanted) {
        let target = format!("/headers?m={mark}");
        reflects(row.which, answer, &target, *length).map_err(|why| wrong(&why))?;
    }
    let is_refused = |answer: &Message| answer.status() == 400;
    if vector.wanted == Wanted::Refused && !answers.last().is_some_and(|last| is_refused(last)) {
        return Err(wrong("not refused"));
    }
    Ok(())
}

async fn run(which: Which) {
    let row = Row::start(which, |_| {}, |_| {}).await;
    let mut honest = Honest::connect(row.proxy.http).await;
    let mut wrong = Vec::new();
    for (at, vector) in vectors::all().iter().enumerate() {
        for (before, after) in [(false, false), (true, false), (false, true), (true, true)] {
            let around = Around { before, after };
            wrong.extend(try_one(&row, vector, around, at).await.err());
        }
        honest.ask(which).await;
    }
    drop(honest);
    assert!(wrong.is_empty(), "{which:?}: {}", wrong.join(""));
    let refused: Vec<String> = (vectors::all().iter().enumerate())
        .filter(|(_, vector)| vector.wanted != Wanted::Refused)
        .map(|(at, _)| format!("v{at}-"))
        .collect();
    for asked in row.finish(false).await {
        let target = asked.target();
        assert!(!target.contains("smuggled"), "{target}");
        // What stands behind a request that was refused or the last is not read.
        if let Some(mark) = target.strip_prefix("/headers?m=after-") {
            assert!(refused.iter().any(|served| mark.starts_with(served)), "{target}");
        }
    }
}

#[tokio::test]
async fn before_hyper() {
    run(Which::Hyper).await;
}

#[tokio::test]
async fn before_nginx() {
    run(Which::Nginx).await;
}

#[tokio::test]
async fn before_lighttpd() {
    run(Which::Lighttpd).await;
}

#[tokio::test]
async fn before_python() {
    run(Which::Python).await;
}

#[tokio::test]
async fn before_the_probe() {
    run(Which::Probe).await;
}

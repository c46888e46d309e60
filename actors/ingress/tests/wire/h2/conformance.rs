//! The rules of RFC 9113 and 7541 for servers, case by case.

use super::cases::{Begin, Case, Wanted, all};
use super::wire::{
    ACK, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Wire, frame, serve, status,
};
use crate::servers::echo;
use crate::support::Proxy;

const MARK: &[u8] = b"whatsup?";

async fn check(proxy: &Proxy, root: &[u8], case: &Case) -> Result<(), String> {
    let mut wire = match case.begin {
        Begin::Whole => Wire::begun(proxy.https, root, &[]).await,
        Begin::Preface => {
            let mut wire = Wire::silent(proxy.https, root).await;
            wire.send(PREFACE).await;
            wire
        }
        Begin::Nothing => Wire::silent(proxy.https, root).await,
    };
    // It may be closed before all is said.
    let _ = wire.send(&case.bytes).await;
    if !matches!(case.wanted, Wanted::Stream(..) | Wanted::Answer(..)) {
        let _ = wire.send(&frame(PING, 0, 0, MARK)).await;
    }
    let mut told = Vec::new();
    while let Some(got) = wire.next().await {
        if let Some(verdict) = judge(case, &got) {
            return verdict.map_err(|why| format!("{why}; before it: {told:?}"));
        }
        told.push((got.kind, got.stream));
    }
    match case.wanted {
        Wanted::Connection(_) | Wanted::Stream(..) => Ok(()),
        _ => Err(format!("it ended after {told:?}")),
    }
}

/// What a frame says about a case; `None` when it says nothing.
fn judge(case: &Case, got: &Frame) -> Option<Result<(), String>> {
    let is_pong = got.kind == PING && got.flags & ACK != 0 && got.payload == MARK;
    match (&case.wanted, got.kind) {
        (Wanted::Connection(codes) | Wanted::Stream(_, codes), GOAWAY) => {
            let code = got.code();
            Some(if codes.contains(&code) { Ok(()) } else { Err(format!("GOAWAY {code}")) })
        }
        (Wanted::Stream(stream, codes), RST_STREAM) if got.stream == *stream => {
            let code = got.code();
            Some(if codes.contains(&code) { Ok(()) } else { Err(format!("RST_STREAM {code}")) })
        }
        (Wanted::Stream(stream, _), HEADERS) if got.stream == *stream => match status(got) {
            // RFC 9113, 8.1.1: a server may answer what is malformed.
            Some(400..=499) => Some(Ok(())),
            status => Some(Err(format!("answered {status:?}"))),
        },
        (Wanted::Answer(stream, wanted), HEADERS) if got.stream == *stream => {
            let status = status(got);
            let is_right = status == Some(*wanted);
            Some(if is_right { Ok(()) } else { Err(format!("answered {status:?}")) })
        }
        (Wanted::Answer(stream, _), RST_STREAM) if got.stream == *stream => {
            Some(Err(format!("RST_STREAM {}", got.code())))
        }
        (Wanted::Alive | Wanted::Answer(..), GOAWAY) => Some(Err(format!("GOAWAY {}", got.code()))),
        (Wanted::Alive, PING) if is_pong => Some(Ok(())),
        (Wanted::Connection(_), PING) if is_pong => Some(Err("nothing was found wrong".to_owned())),
        (Wanted::Settled, SETTINGS) if got.flags & ACK != 0 => Some(Ok(())),
        _ => None,
    }
}

#[tokio::test]
async fn what_the_rfc_asks_of_servers() {
    let proxy = Proxy::start(|_| {});
    let root = serve(&proxy, echo().await.port(), |_| {});
    let cases = all();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(why) = check(&proxy, &root, case).await {
            wrong.push(format!("{} {}: wanted {:?}: {why}", case.section, case.name, case.wanted));
        }
    }
    eprintln!("{} cases", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

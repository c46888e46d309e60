//! What the TLS listener agrees to, asked by OpenSSL: versions, suites, and what must not be had.

use crate::h2::wire::serve;
use crate::servers::echo;
use crate::support::Proxy;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Suites of TLS 1.2 with forward secrecy and authenticated encryption that an ECDSA key can have.
const GOOD: [&str; 3] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
];

async fn start() -> Proxy {
    let proxy = Proxy::start(|_| {});
    serve(&proxy, echo().await.port(), |_| {});
    proxy
}

/// `openssl s_client`, with what it says.
async fn ask(proxy: &Proxy, name: Option<&str>, words: &str, input: &[u8]) -> (Output, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &proxy.https.to_string()]);
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    command.args(words.split_whitespace()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input).await;
    let _ = stdin.flush().await;
    if !input.is_empty() {
        // Letters in a line of their own are orders once the handshake is over.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    drop(stdin);
    let output = tokio::time::timeout(crate::support::PATIENCE, child.wait_with_output());
    let output = output.await.expect("openssl ends").unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

/// Whether a handshake came to its end.
fn agreed(text: &str) -> bool {
    !text.contains("Cipher is (NONE)") && text.contains("Cipher is ")
}

#[tokio::test]
async fn only_versions_1_2_and_1_3() {
    let proxy = start().await;
    for (version, wanted) in
        [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)]
    {
        let words = format!("{version} -cipher ALL@SECLEVEL=0");
        let (_, text) = ask(&proxy, Some("a.test"), &words, b"").await;
        assert_eq!(agreed(&text), wanted, "{version}: {text}");
        if !wanted {
            // Either of protocol_version and handshake_failure.
            let is_told =
                text.contains("SSL alert number 70") || text.contains("SSL alert number 40");
            assert!(is_told, "{version}: {text}");
        }
        assert!(!text.contains("Compression: zlib"), "{text}");
    }
}

#[tokio::test]
async fn only_suites_with_forward_secrecy_and_authenticated_encryption() {
    let proxy = start().await;
    let listed = Command::new("openssl")
        .args(["ciphers", "-tls1_2", "-s", "ALL:COMPLEMENTOFALL@SECLEVEL=0"])
        .output()
        .await
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let (good, bad): (Vec<&str>, Vec<&str>) =
        listed.trim().split(':').partition(|name| GOOD.contains(name));
    assert_eq!(good.len(), GOOD.len(), "{listed}");
    assert!(bad.len() > 20, "{listed}");
    for name in good {
        let words = format!("-tls1_2 -cipher {name}");
        assert!(agreed(&ask(&proxy, Some("a.test"), &words, b"").await.1), "{name}");
    }
    // All others at once: one that is known would be agreed on.
    let words = format!("-tls1_2 -cipher {}@SECLEVEL=0", bad.join(":"));
    let (_, text) = ask(&proxy, Some("a.test"), &words, b"").await;
    assert!(!agreed(&text) && text.contains("SSL alert number 40"), "{text}");
    for (group, wanted) in [
        ("X25519", true),
        ("P-256", true),
        ("P-384", false),
        ("P-521", false),
        ("ffdhe2048", false),
    ] {
        let words = format!("-tls1_3 -groups {group}");
        let (_, text) = ask(&proxy, Some("a.test"), &words, b"").await;
        assert_eq!(agreed(&text), wanted, "{group}: {text}");
    }
}

#[tokio::test]
async fn nothing_is_negotiated_anew() {
    let proxy = start().await;
    let words = "-tls1_2 -legacy_renegotiation";
    let (_, text) = ask(&proxy, Some("a.test"), words, b"R\n").await;
    assert!(agreed(&text), "{text}");
    assert!(text.contains("Secure Renegotiation IS supported"), "{text}");
    assert!(text.contains("RENEGOTIATING"), "{text}");
    let is_refused = text.contains("no renegotiation") || text.contains("unexpected message");
    assert!(is_refused, "{text}");
}

#[tokio::test]
async fn names_that_nobody_serves_are_unknown() {
    let proxy = start().await;
    for name in [Some("b.test"), Some("x.a.test"), Some("localhost"), None] {
        for version in ["-tls1_2", "-tls1_3"] {
            let (output, text) = ask(&proxy, name, version, b"").await;
            assert!(!agreed(&text) && !output.status.success(), "{name:?}: {text}");
            assert!(text.contains("SSL alert number 112"), "{name:?}: {text}");
            assert!(text.contains("no peer certificate available"), "{name:?}: {text}");
        }
    }
}

#[tokio::test]
async fn protocols_are_chosen_and_no_data_comes_early() {
    let proxy = start().await;
    for (offered, wanted) in [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
    ] {
        let words = format!("-tls1_3 -alpn {offered}");
        let (_, text) = ask(&proxy, Some("a.test"), &words, b"").await;
        assert!(text.contains(wanted), "{offered}: {text}");
    }
    let (_, text) = ask(&proxy, Some("a.test"), "-tls1_3 -alpn spdy/3", b"").await;
    assert!(text.contains("SSL alert number 120"), "{text}");
    let get = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let (_, text) = ask(&proxy, Some("a.test"), "-tls1_3 -ign_eof", get).await;
    assert!(text.contains("HTTP/1.1 200"), "{text}");
    let early: Vec<&str> = text.lines().filter(|line| line.contains("Max Early Data:")).collect();
    assert!(!early.is_empty(), "no ticket was seen: {text}");
    assert!(early.iter().all(|line| line.trim() == "Max Early Data: 0"), "{early:?}");
}

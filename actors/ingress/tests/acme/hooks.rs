//! Records of challenges that a program or a web service of the user publishes.

use crate::dns::wait;
use jaco_ingress::acme::Resolvers;
use jaco_ingress::acme::dns::{DnsError, Outside, Publisher, Visibility};
use jaco_kit::Clock;
use jaco_lab::{Names, loopback, until};
use jaco_model::spec::{DnsMethod, DnsProvider, SecretText};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const NAME: &str = "_acme-challenge.shop.example.test";

/// A program, which is a script here and gets its words as they are.
pub(crate) fn script(dir: &Path, text: &str) -> DnsProvider {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("hook");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let command = vec![path.display().to_string(), "first".to_owned()];
    DnsProvider::new(DnsMethod::Exec { command })
}

/// What tells the test's name server about records.
pub(crate) fn teller(dir: &Path, names: &Names) -> DnsProvider {
    let management = names.management();
    script(
        dir,
        &format!(
            "case $2 in present) path=set-txt ;; cleanup) path=clear-txt ;; *) exit 9 ;; esac\n\
             exec curl --silent --fail --data \"{{\\\"host\\\":\\\"$3.\\\",\\\"value\\\":\\\"$4\\\"}}\" \
             {management}/$path"
        ),
    )
}

fn outside(names: &Names) -> Outside {
    let resolvers = Resolvers::Listed(vec![names.server()]);
    Outside { resolvers, webhook_roots: None, clock: Clock::new() }
}

fn names(dir: &Path) -> Names {
    Names::start_here(loopback(), None, &dir.join("names.log")).unwrap()
}

#[test]
fn a_program_publishes_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(dir.path());
    let publisher = Publisher::new(&teller(dir.path(), &names), None, &outside(&names)).unwrap();
    let is_there = || wait(publisher.is_visible(NAME, "one")).unwrap() == Visibility::Everywhere;
    assert!(!is_there());
    wait(publisher.publish(NAME, "one")).unwrap();
    assert!(is_there());
    wait(publisher.remove(NAME, "one")).unwrap();
    assert!(!is_there());
}

#[test]
fn a_program_gets_words_and_no_shell() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(dir.path());
    let seen = dir.path().join("seen");
    let provider = script(dir.path(), &format!("printf '%s|' \"$@\" >>{}", seen.display()));
    let publisher = Publisher::new(&provider, None, &outside(&names)).unwrap();
    wait(publisher.publish(NAME, "$(id) ; 'x'")).unwrap();
    wait(publisher.remove(NAME, "v")).unwrap();
    let expected = format!("first|present|{NAME}|$(id) ; 'x'|first|cleanup|{NAME}|v|");
    assert_eq!(fs::read_to_string(&seen).unwrap(), expected);
}

#[test]
fn a_program_that_fails_is_quoted_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(dir.path());
    let pid = dir.path().join("pid");
    let text = format!(
        "sleep 600 & echo $! >{}\ni=0; while [ $i -lt 500 ]; do echo noise >&2; i=$((i+1)); done\n\
         echo 'the zone is locked' >&2; exit 3",
        pid.display()
    );
    let publisher = Publisher::new(&script(dir.path(), &text), None, &outside(&names)).unwrap();
    let error = wait(publisher.publish(NAME, "one")).unwrap_err();
    assert!(matches!(error, DnsError::Refused(_)), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("hook present: exit status: 3"), "{error}");
    assert!(error.ends_with("the zone is locked") && error.len() < 2_000, "{error}");
    let pid = fs::read_to_string(pid).unwrap();
    let ends = || {
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        // Killed; whoever adopted it may not have noticed yet.
        let is_gone = state.map_or(true, |state| state.contains(") Z "));
        Ok(is_gone.then_some(()))
    };
    until("the end of what the program left behind", Duration::from_secs(10), ends).unwrap();
}

#[test]
fn programs_without_a_path_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(dir.path());
    for command in [vec![], vec!["hook".to_owned()], vec!["./hook".to_owned()]] {
        let provider = DnsProvider::new(DnsMethod::Exec { command });
        let made = Publisher::new(&provider, None, &outside(&names));
        assert!(matches!(made, Err(DnsError::Settings(_))), "{made:?}");
    }
    let command = vec![dir.path().join("nothing").display().to_string()];
    let provider = DnsProvider::new(DnsMethod::Exec { command });
    let publisher = Publisher::new(&provider, None, &outside(&names)).unwrap();
    let error = wait(publisher.publish(NAME, "one")).unwrap_err().to_string();
    assert!(error.contains("cannot be started"), "{error}");
}

/// A web service that answers each request with a status and hands on what it got.
fn service(dir: &Path, status: &'static str) -> (u16, Receiver<String>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    fs::write(dir.join("service.pem"), certificate.pem()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let (config, (sender, receiver)) = (Arc::new(config), channel());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, socket));
            let (mut head, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                head.push_str(&line.to_lowercase());
                line.clear();
            }
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next().unwrap().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            drop(stream.read_exact(&mut body));
            drop(sender.send(format!("{head}{}", String::from_utf8_lossy(&body))));
            let answer = "Content-Length: 9\r\nConnection: close\r\n\r\nno\n such\n";
            drop(write!(stream.get_mut(), "HTTP/1.1 {status}\r\n{answer}"));
            drop(stream.get_mut().flush());
        }
    });
    (port, receiver)
}

#[test]
fn a_web_service_gets_one_request_for_each_change() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(dir.path());
    let (port, requests) = service(dir.path(), "204 No Content");
    let url = format!("https://localhost:{port}/dns?a=b");
    let provider = DnsProvider::new(DnsMethod::Webhook { url, headers_secret: None });
    let roots = Some(dir.path().join("service.pem"));
    let outside = Outside { webhook_roots: roots, ..outside(&names) };
    let secret = SecretText::new("Authorization: Bearer letmein\n");
    let publisher = Publisher::new(&provider, Some(&secret), &outside).unwrap();
    assert!(!format!("{publisher:?}").contains("letmein"));
    for (action, change) in [("present", true), ("cleanup", false)] {
        match change {
            true => wait(publisher.publish(NAME, "one")).unwrap(),
            false => wait(publisher.remove(NAME, "one")).unwrap(),
        }
        let request = requests.recv().unwrap();
        assert!(request.starts_with("post /dns?a=b http/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: bearer letmein\r\n"), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        let body = &request[request.find('{').unwrap()..];
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let expected = serde_json::json!({
            "action": action, "fqdn": NAME, "value": "one", "ttl": 60
        });
        assert_eq!(body, expected);
    }
}

#[test]
fn a_web_service_that_refuses_is_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(dir.path());
    let (port, _requests) = service(dir.path(), "403 Forbidden");
    let url = format!("https://localhost:{port}/");
    let provider = DnsProvider::new(DnsMethod::Webhook { url, headers_secret: None });
    let roots = Some(dir.path().join("service.pem"));
    let trusting = Outside { webhook_roots: roots, ..outside(&names) };
    let publisher = Publisher::new(&provider, None, &trusting).unwrap();
    let error = wait(publisher.publish(NAME, "one")).unwrap_err();
    assert!(matches!(error, DnsError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("403 Forbidden: no such"), "{error}");
    // The host's own roots do not know it.
    let publisher = Publisher::new(&provider, None, &outside(&names)).unwrap();
    let error = wait(publisher.publish(NAME, "one")).unwrap_err();
    assert!(matches!(error, DnsError::Away(_)), "{error:?}");
}

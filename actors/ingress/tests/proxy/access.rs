//! The access log as a file.

use crate::support::{PATIENCE, Proxy, echo, table};
use jaco_model::spec::AccessLog;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// The lines of a file, once there are so many.
async fn lines(path: &Path, wanted: usize) -> Vec<String> {
    let reading = async {
        loop {
            let text = std::fs::read_to_string(path).unwrap();
            if text.lines().count() >= wanted {
                return text.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the lines come")
}

#[tokio::test]
async fn a_line_says_who_asked_what_and_who_answered_and_no_secret() {
    let upstream = echo("127.0.0.1:0").await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let proxy = Proxy::start(|config| {
        config.access_log = AccessLog::All;
        config.access_log_file = Some(path.clone());
        config.names = vec!["n1".to_owned()];
    });
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], upstream.port(), |_| {}));
    let request = "POST /cart?token=hush HTTP/1.1\r\nHost: a.test\r\nUser-Agent: probe/1\r\n\
                   Referer: https://b.test/\r\nAuthorization: Basic hush\r\nCookie: id=hush\r\n\
                   X-Forwarded-For: 192.0.2.9\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert!(proxy.raw(request).await.starts_with("HTTP/1.1 200"));
    let unknown = "GET / HTTP/1.1\r\nHost: c.test\r\nConnection: close\r\n\r\n";
    assert!(proxy.raw(unknown).await.starts_with("HTTP/1.1 404"));
    let all = lines(&path, 2).await;
    assert!(!all.concat().contains("hush"), "{all:#?}");
    let line: serde_json::Value = serde_json::from_str(&all[0]).unwrap();
    for (field, value) in [
        ("host", "a.test"),
        ("method", "POST"),
        ("path", "/cart"),
        ("protocol", "HTTP/1.1"),
        ("client", "127.0.0.1"),
        ("deployment", "shop"),
        ("service", "web"),
        ("replica", "shop-web-0.g1"),
        ("node", "n1"),
        ("user_agent", "probe/1"),
        ("referer", "https://b.test/"),
        ("reason", ""),
    ] {
        assert_eq!(line[field], value, "{field}: {line:#}");
    }
    for (field, value) in [("status", 200), ("bytes_in", 5), ("attempts", 1)] {
        assert_eq!(line[field], value, "{field}: {line:#}");
    }
    assert!(line["bytes_out"].as_u64() > Some(0) && line["upstream_us"].is_u64(), "{line:#}");
    assert!(line.get("trusted_chain").is_none(), "nobody is trusted: {line:#}");
    assert!(line.get("tls_version").is_none(), "{line:#}");
    let line: serde_json::Value = serde_json::from_str(&all[1]).unwrap();
    assert_eq!((&line["status"], &line["reason"]), (&404.into(), &"no_route".into()));
}

/// Each request names its turn in its path.
#[tokio::test]
async fn a_route_says_which_requests_are_written_down() {
    let upstream = echo("127.0.0.1:0").await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let proxy = Proxy::start(|config| {
        config.access_log = AccessLog::Off;
        config.access_log_file = Some(path.clone());
    });
    let mut wanted = Vec::new();
    let settings = [None, Some(AccessLog::Off), Some(AccessLog::Errors), Some(AccessLog::All)];
    for (turn, setting) in settings.into_iter().enumerate() {
        proxy.serve(table(&[Ipv4Addr::LOCALHOST], upstream.port(), |spec| {
            spec.options.access_log = setting;
            spec.options.body_limit = Some(0);
        }));
        let (good, bad) = (format!("/good{turn}"), format!("/bad{turn}"));
        assert!(proxy.ask("GET", &good, "").await.starts_with("HTTP/1.1 200"));
        let refused = proxy.ask("POST", &bad, "Content-Length: 1\r\n").await;
        assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
        match setting {
            None | Some(AccessLog::Off) => {}
            Some(AccessLog::Errors) => wanted.push(bad),
            Some(AccessLog::All) => wanted.extend([good, bad]),
        }
    }
    let paths = |line: &String| -> String {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["path"].as_str().unwrap().to_owned()
    };
    let written: Vec<String> = lines(&path, wanted.len()).await.iter().map(paths).collect();
    assert_eq!(written, wanted);
}

//! Real servers behind the proxy, each with its own reading of HTTP: hyper, nginx, lighttpd,
//! Python's, and our probe. All answer with the first line of the request; those but the probe also
//! with the length of its body, the two that are proxies themselves by asking hyper.

use crate::tap::Place;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jaco_lab::Program;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UnixStream};

/// A program that ends with its guard.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) place: Place,
    child: Option<Child>,
    _directory: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Hyper,
    Nginx,
    Lighttpd,
    Python,
    Probe,
}

impl Which {
    pub(crate) async fn start(self) -> Server {
        match self {
            Which::Hyper => {
                Server { place: Place::Tcp(echo().await), child: None, _directory: None }
            }
            Which::Nginx => nginx().await,
            Which::Lighttpd => lighttpd().await,
            Which::Python => python().await,
            Which::Probe => probe().await,
        }
    }

    /// Whether it says how long the body was.
    pub(crate) fn tells_length(self) -> bool {
        self != Which::Probe
    }
}

/// hyper, with the first line and the length of the body.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(reflect)));
        }
    });
    here
}

async fn reflect(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let line = format!("{} {} HTTP/1.1", request.method(), request.uri());
    let Ok(body) = request.into_body().collect().await else {
        return Ok(Response::builder().status(400).body(Full::default()).unwrap());
    };
    let text = format!("{line}\nbody {}\n", body.to_bytes().len());
    Ok(Response::new(Full::new(text.into())))
}

async fn nginx() -> Server {
    let (directory, echo) = (tempfile::tempdir().unwrap(), echo().await);
    let at = directory.path().display();
    let config = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/log warn;
        events {{ worker_connections 512; }}
        http {{
            access_log off; client_max_body_size 0; keepalive_requests 1000000;
            client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
            fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
            upstream echo {{ server {echo}; keepalive 16; }}
            server {{
                listen unix:{at}/socket;
                location / {{
                    proxy_pass http://echo; proxy_http_version 1.1;
                    proxy_set_header Connection ''; proxy_set_header Host $http_host;
                }}
            }}
        }}"
    );
    std::fs::write(directory.path().join("conf"), config).unwrap();
    let mut command = Program::fetch("nginx", "nginx").unwrap().command();
    command.args(["-e", "stderr", "-p"]).arg(directory.path()).arg("-c");
    command.arg(directory.path().join("conf"));
    start(command, directory).await
}

async fn lighttpd() -> Server {
    let (directory, echo) = (tempfile::tempdir().unwrap(), echo().await);
    let at = directory.path().display();
    let config = format!(
        "server.document-root = \"{at}\"
        server.bind = \"{at}/socket\"
        server.modules = ( \"mod_proxy\" )
        server.errorlog = \"{at}/log\"
        server.upload-dirs = ( \"{at}\" )
        server.max-keep-alive-requests = 30000
        server.http-parseopts = ( \"method-get-body\" => \"enable\" )
        proxy.server = ( \"\" => (( \"host\" => \"{}\", \"port\" => {} )) )\n",
        echo.ip(),
        echo.port()
    );
    std::fs::write(directory.path().join("conf"), config).unwrap();
    let program = Program::fetch("lighttpd", "lighttpd").unwrap();
    let mut command = program.command();
    command.args(["-D", "-f"]).arg(directory.path().join("conf"));
    command.arg("-m").arg(program.plug_ins("lighttpd"));
    start(command, directory).await
}

async fn python() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/echo.py"));
    command.arg(directory.path().join("socket"));
    start(command, directory).await
}

/// Starts what will listen at `socket` in its directory.
async fn start(mut command: Command, directory: tempfile::TempDir) -> Server {
    let socket = directory.path().join("socket");
    let log = std::fs::File::create(directory.path().join("output")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let child = Some(command.spawn().unwrap());
    let place = Place::Unix(socket.clone());
    let server = Server { place, child, _directory: Some(directory) };
    for _ in 0..400 {
        if UnixStream::connect(&socket).await.is_ok() {
            return server;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let output = socket.with_file_name("output");
    panic!("{command:?} does not listen: {}", std::fs::read_to_string(output).unwrap());
}

async fn probe() -> Server {
    let probe = jaco_lab::probe_binary().unwrap();
    let mut command = Command::new(probe);
    command.env("PROBE_HTTP_PORT", "0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let output = tokio::process::ChildStdout::from_std(child.stdout.take().unwrap()).unwrap();
    let mut lines = BufReader::new(output).lines();
    let line = lines.next_line().await.unwrap().expect("the probe says where it listens");
    let word = line.split("http=").nth(1).and_then(|rest| rest.split(' ').next());
    let port: u16 = word.and_then(|word| word.parse().ok()).expect("a port");
    // It goes on to print, so somebody has to read.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let place = Place::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    Server { place, child: Some(child), _directory: None }
}

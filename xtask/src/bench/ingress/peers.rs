//! The four proxies: where each listens, and what it is told. All do the same: they keep
//! connections to the service, tell it who asks, and give each request an id.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::stage::{Ours, Stage, Started, write};
use crate::bench::debian::Program;

/// The host that clients ask for.
pub(super) const NAME: &str = "localhost";
/// Ports of the service, of the source of bytes, and of the echo.
pub(super) const SERVICE: u16 = 9000;
pub(super) const SOURCE: u16 = 9001;
pub(super) const ECHO: u16 = 9002;
/// Paths of each host when there are many routes.
pub(super) const PATHS: usize = 10;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxy {
    Jaco,
    Nginx,
    Haproxy,
    Caddy,
}

impl Proxy {
    /// Ours first.
    pub(super) const ALL: [Proxy; 4] = [Proxy::Jaco, Proxy::Nginx, Proxy::Haproxy, Proxy::Caddy];

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Proxy::Jaco => "jaco",
            Proxy::Nginx => "nginx",
            Proxy::Haproxy => "haproxy",
            Proxy::Caddy => "caddy",
        }
    }

    fn number(self) -> u16 {
        self as u16
    }

    /// Where it speaks HTTP.
    pub(super) fn http(self) -> u16 {
        8_000 + self.number()
    }

    /// Where it speaks HTTPS.
    pub(super) fn https(self) -> u16 {
        8_440 + self.number()
    }

    /// Its published port that leads to the source of bytes.
    pub(super) fn source(self) -> u16 {
        7_000 + self.number()
    }

    /// Its published port that leads to the echo.
    pub(super) fn echo(self) -> u16 {
        7_010 + self.number()
    }

    /// Starts it.
    pub(super) fn start(self, stage: &Stage) -> Result<Door> {
        let door = match self {
            Proxy::Jaco => Door::Ours(Ours::start(stage)?),
            Proxy::Nginx => Door::Peer(stage.measured(nginx(stage, false, &Routes::default())?)?),
            Proxy::Haproxy => Door::Peer(stage.measured(haproxy(stage)?)?),
            Proxy::Caddy => Door::Peer(stage.measured(caddy(stage)?)?),
        };
        stage.wait_for(self.http())?;
        stage.wait_for(self.https())?;
        Ok(door)
    }
}

/// A proxy that runs.
pub(super) enum Door {
    Ours(Ours),
    Peer(Started),
}

impl Door {
    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Door::Ours(ours) => ours.started.pid,
            Door::Peer(started) => started.pid,
        }
    }

    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self {
            Door::Ours(ours) => ours.started.check(),
            Door::Peer(started) => started.check(),
        }
    }
}

/// Proxies, clients and the service.
pub(super) struct Programs {
    pub(super) nginx: Program,
    haproxy: Program,
    caddy: Program,
    pub(super) wrk: Program,
    pub(super) h2load: Program,
}

impl Programs {
    pub(super) fn fetch() -> Result<Programs> {
        Ok(Programs {
            nginx: Program::fetch("nginx-light", "nginx")?,
            haproxy: Program::fetch("haproxy", "haproxy")?,
            caddy: Program::fetch("caddy", "caddy")?,
            wrk: Program::fetch("wrk", "wrk")?,
            h2load: Program::fetch("nghttp2-client", "h2load")?,
        })
    }
}

/// What nginx is told in each of its roles. `name` keeps their files apart.
fn nginx_with(
    program: &Program,
    directory: &Path,
    name: &str,
    is_reloading: bool,
    servers: &str,
) -> Result<Command> {
    let processes = if is_reloading { "on" } else { "off" };
    let text = format!(
        "daemon off; master_process {processes}; worker_processes 1; user root;
pid {name}.pid; error_log stderr error; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; tcp_nodelay on; keepalive_timeout 75; keepalive_requests 1000000000;
  server_names_hash_max_size 16384; server_names_hash_bucket_size 128;
  client_body_temp_path {name}-b; proxy_temp_path {name}-p; fastcgi_temp_path {name}-f;
  uwsgi_temp_path {name}-u; scgi_temp_path {name}-s;
  {servers}
}}
"
    );
    let path = write(directory, &format!("{name}.conf"), &text)?;
    let mut command = program.command();
    command.arg("-p").arg(directory).arg("-e").arg("stderr").arg("-c").arg(path);
    Ok(command)
}

/// The service behind all proxies.
pub(super) fn service(programs: &Programs, directory: &Path) -> Result<Command> {
    let servers = format!(
        "server {{ listen 127.0.0.1:{SERVICE} backlog=1024; location / {{ return 200 \
         'an answer of some forty bytes, no more.\\n'; }} }}"
    );
    nginx_with(&programs.nginx, directory, "service", false, &servers)
}

/// Further routes of nginx: at the host that all have, and other hosts.
#[derive(Default)]
pub(super) struct Routes {
    here: String,
    elsewhere: String,
}

impl Routes {
    /// So many in all; `fresh` names one that only this version has.
    pub(super) fn new(count: usize, fresh: u64) -> Routes {
        let here = format!("location /fresh-{fresh} {{ return 302 /; }}");
        let listen = Proxy::Nginx.http();
        let paths: String = (0..PATHS)
            .map(|path| format!("location {}/ {{ proxy_pass http://web; }} ", path_name(path)))
            .collect();
        let host = |number| {
            let name = host_name(number);
            format!("server {{ listen 127.0.0.1:{listen}; server_name {name}; {paths} }}\n")
        };
        Routes { here, elsewhere: (1..count / PATHS).map(host).collect() }
    }
}

/// nginx as a proxy.
pub(super) fn nginx(stage: &Stage, is_reloading: bool, routes: &Routes) -> Result<Command> {
    let Routes { here, elsewhere } = routes;
    let (http, https) = (Proxy::Nginx.http(), Proxy::Nginx.https());
    let servers = format!(
        "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Request-Id $request_id;
  add_header X-Request-Id $request_id;
  upstream web {{ server 127.0.0.1:{SERVICE}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{http} backlog=1024; listen 127.0.0.1:{https} ssl http2 backlog=1024;
    server_name {NAME}; ssl_certificate chain.pem; ssl_certificate_key key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ proxy_pass http://web; }}
    {here}
  }}
  {elsewhere}"
    );
    nginx_with(&stage.programs.nginx, &stage.directory, "nginx", is_reloading, &servers)
}

/// A host when there are many.
pub(super) fn host_name(number: usize) -> String {
    format!("h{number}.bench.test")
}

/// A path of a host; the first is the catch-all.
pub(super) fn path_name(number: usize) -> String {
    if number == 0 { String::new() } else { format!("/p{number}") }
}

fn haproxy(stage: &Stage) -> Result<Command> {
    let of = Proxy::Haproxy;
    let (http, https, source, echo) = (of.http(), of.https(), of.source(), of.echo());
    let text = format!(
        "global
  nbthread 1
  maxconn 7000
defaults
  timeout connect 2s
  timeout client 75s
  timeout server 60s
frontend http
  mode http
  option forwardfor
  bind 127.0.0.1:{http}
  bind 127.0.0.1:{https} ssl crt both.pem alpn h2,http/1.1
  unique-id-format %[uuid]
  unique-id-header X-Request-Id
  default_backend web
backend web
  mode http
  http-reuse always
  server one 127.0.0.1:{SERVICE}
listen source
  mode tcp
  bind 127.0.0.1:{source}
  server one 127.0.0.1:{SOURCE}
listen echo
  mode tcp
  bind 127.0.0.1:{echo}
  server one 127.0.0.1:{ECHO}
"
    );
    write(&stage.directory, "haproxy.cfg", &text)?;
    let mut command = stage.programs.haproxy.command();
    command.args(["-db", "-q", "-f", "haproxy.cfg"]).current_dir(&stage.directory);
    Ok(command)
}

fn caddy(stage: &Stage) -> Result<Command> {
    let (http, https) = (Proxy::Caddy.http(), Proxy::Caddy.https());
    let proxy = format!("reverse_proxy 127.0.0.1:{SERVICE}");
    let text = format!(
        "{{
  admin off
  auto_https off
  log {{
    output discard
  }}
  servers {{
    protocols h1 h2
  }}
}}
http://{NAME}:{http} {{
  {proxy}
}}
https://{NAME}:{https} {{
  tls chain.pem key.pem
  {proxy}
}}
"
    );
    write(&stage.directory, "Caddyfile", &text)?;
    let mut command = stage.programs.caddy.command();
    command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
    command.current_dir(&stage.directory);
    // One processor is all that any of them has.
    command.env("HOME", &stage.directory).env("GOMAXPROCS", "1");
    Ok(command)
}

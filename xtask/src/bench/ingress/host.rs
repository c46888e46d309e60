//! Our proxy in a process of its own, which is told on standard input what to serve.

use std::fs;
use std::io::{Write, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;
use jaco_ingress::{Config, Driver, DriverHandle, L4};
use jaco_ingress_core::{Effect, Input, ListenKey, ListenKind, ServedCertificate, Table};
use jaco_kit::Clock;
use jaco_kit_core::OpId;

use super::peers::Proxy;
use super::tables;

/// The proxy that `bench ingress` measures. For that task only.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "ingress-host")]
pub(crate) struct Host {
    /// where the certificate is
    #[argh(positional)]
    directory: PathBuf,
}

impl Host {
    /// Carries out orders, a line each, until there are no more:
    ///
    /// - `routes N`: makes a table with so many routes and serves it;
    /// - `prepare N`: makes the same with a further route, `/fresh-N`;
    /// - `serve`: serves what was prepared.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let proxy = Proxy::Jaco;
        let front =
            Front::open(&[(ListenKind::Http, proxy.http()), (ListenKind::Https, proxy.https())])?;
        let read = |name| fs::read_to_string(self.directory.join(name));
        let (chain_pem, key_pem) = (read("chain.pem")?, read("key.pem")?);
        let certificate = Arc::new(ServedCertificate { chain_pem, key_pem });
        let mut now = Arc::new(Table::default());
        let mut next = now.clone();
        for line in stdin().lines() {
            let line = line?;
            let (order, number) = line.split_once(' ').unwrap_or((&line, "0"));
            let number: u64 = number.parse()?;
            match order {
                "routes" => {
                    now = Arc::new(tables::table(usize::try_from(number)?, &certificate));
                    front.serve(now.clone());
                }
                "prepare" => next = Arc::new(tables::changed(&now, number)),
                "serve" => front.serve(next.clone()),
                _ => bail!("unknown order {order}"),
            }
            println!("done");
            stdout().flush()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The drivers of the product, one thread each.
struct Front {
    http: DriverHandle,
    l4: L4,
}

impl Front {
    fn open(listeners: &[(ListenKind, u16)]) -> Result<Front> {
        let mut config = Config::new(Clock::new());
        config.workers = 1;
        // All clients are at one address, and the peers are told to keep connections as well.
        config.connections.client = usize::MAX;
        config.connections.young = 1 << 16;
        config.requests_per_connection = u64::MAX;
        let (tell, told) = mpsc::channel();
        let http = Driver::spawn(config, move |input| {
            if let Input::Listening { result, .. } = input {
                // Nobody waits any more only when this process ends.
                let _ = tell.send(result);
            }
        })?;
        for (kind, port) in listeners {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            let key = ListenKey { kind: *kind, address };
            http.run(Effect::Listen { op: OpId(1), key });
            let result = told.recv().context("no answer")?;
            ensure!(result.is_ok(), "port {port}: {result:?}");
        }
        let l4 = L4::start()?;
        for port in [Proxy::Jaco.source(), Proxy::Jaco.echo()] {
            let (tell, told) = mpsc::channel();
            l4.open(tables::port(port), move |result| drop(tell.send(result)));
            told.recv()?.with_context(|| format!("port {port}"))?;
        }
        Ok(Front { http, l4 })
    }

    fn serve(&self, table: Arc<Table>) {
        self.l4.serve(table.clone());
        self.http.run(Effect::Serve(table));
    }
}

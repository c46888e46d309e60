//! `cargo xtask lab`: hosts with engines of their own, to try things by hand.

mod faults;
mod status;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use argh::FromArgs;
use jaco_lab::{EngineRelease, LabOptions, ensure_tools};

/// Bring labs up and down: hosts as network namespaces, each with its own Docker Engine.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "lab")]
pub(crate) struct Lab {
    #[argh(subcommand)]
    action: Action,
}

#[derive(Debug, FromArgs)]
#[argh(subcommand)]
enum Action {
    Up(Up),
    Down(Down),
    Exec(Exec),
    Status(Status),
    Cut(faults::Cut),
    Isolate(faults::Isolate),
    Heal(faults::Heal),
}

/// Bring up a lab that stays until `lab down`.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "up")]
struct Up {
    /// number of hosts, default 1
    #[argh(option, default = "1")]
    hosts: u8,
    /// name of the lab, default dev
    #[argh(option, default = "default_name()")]
    name: String,
    /// parent directory of images and containers, default /var/lib/jaco-lab
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// engine of the next host, may be given for each: installed (default), 26.1, 28.5
    #[argh(option)]
    engine: Vec<EngineRelease>,
}

/// Remove a lab with everything in it.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "down")]
struct Down {
    /// name of the lab, default dev
    #[argh(option, default = "default_name()")]
    name: String,
}

/// Run a command inside a host: `lab exec node-1 -- docker ps`.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "exec")]
struct Exec {
    /// name of the lab, default dev
    #[argh(option, default = "default_name()")]
    name: String,
    /// the host, such as node-1
    #[argh(positional)]
    host: String,
    /// the program and its arguments
    #[argh(positional, greedy)]
    command: Vec<String>,
}

/// List all labs of this machine and whether their engines answer.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "status")]
struct Status {}

fn default_name() -> String {
    "dev".to_owned()
}

impl Lab {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.action {
            Action::Up(up) => up.run()?,
            Action::Down(down) => {
                jaco_lab::Lab::attach(&down.name)?.down()?;
                println!("lab {} is removed", down.name);
            }
            Action::Exec(exec) => exec.run()?,
            Action::Status(Status {}) => status::print(),
            Action::Cut(cut) => cut.run()?,
            Action::Isolate(isolate) => isolate.run()?,
            Action::Heal(heal) => heal.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Up {
    fn run(self) -> Result<()> {
        ensure_tools()?;
        anyhow::ensure!(
            jaco_lab::Lab::attach(&self.name).is_err(),
            "lab {0} is already up; remove it with `cargo xtask lab down --name {0}`",
            self.name
        );
        let mut options = LabOptions::new(&self.name, self.hosts);
        if let Some(data_dir) = self.data_dir {
            options.data_root = std::path::absolute(data_dir)?;
        }
        options.engines = self.engine;
        let lab = jaco_lab::Lab::up(options)?;
        for host in lab.hosts() {
            let socket = host.docker_socket();
            println!("{} {} unix://{}", host.name(), host.address(), socket.display());
        }
        lab.keep()
    }
}

impl Exec {
    /// Becomes the command, so that signals, terminal and exit code are its own.
    fn run(self) -> Result<()> {
        let lab = jaco_lab::Lab::attach(&self.name)?;
        let mut words = self.command.iter().skip_while(|word| *word == "--");
        let program = words.next().context("the command is missing")?;
        let error = lab.host(&self.host)?.command(program).args(words).exec();
        Err(error).with_context(|| format!("cannot run {program}"))
    }
}

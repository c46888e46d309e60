//! `cargo xtask lab cut|isolate|heal`: faults of the network between a lab's hosts.

use anyhow::Result;
use argh::FromArgs;
use jaco_lab::Lab;

use super::default_name;

/// Cut the cable between two hosts: `lab cut node-1 node-2`.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "cut")]
pub(super) struct Cut {
    /// name of the lab, default dev
    #[argh(option, default = "default_name()")]
    name: String,
    /// drop only what the first host sends to the second
    #[argh(switch)]
    one_way: bool,
    /// cut only this port; may be given several times
    #[argh(option)]
    port: Vec<u16>,
    /// the first host, such as node-1
    #[argh(positional)]
    from: String,
    /// the second host
    #[argh(positional)]
    to: String,
}

/// Cut a host off from all others.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "isolate")]
pub(super) struct Isolate {
    /// name of the lab, default dev
    #[argh(option, default = "default_name()")]
    name: String,
    /// the host, such as node-1
    #[argh(positional)]
    host: String,
}

/// End all cuts.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "heal")]
pub(super) struct Heal {
    /// name of the lab, default dev
    #[argh(option, default = "default_name()")]
    name: String,
}

impl Cut {
    pub(super) fn run(self) -> Result<()> {
        let lab = Lab::attach(&self.name)?;
        let traffic = lab.traffic(&self.port);
        if self.one_way {
            return traffic.cut_one_way(&self.from, &self.to);
        }
        traffic.cut(&self.from, &self.to)
    }
}

impl Isolate {
    pub(super) fn run(self) -> Result<()> {
        Lab::attach(&self.name)?.isolate(&self.host)
    }
}

impl Heal {
    pub(super) fn run(self) -> Result<()> {
        Lab::attach(&self.name)?.heal()
    }
}

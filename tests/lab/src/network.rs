//! The wires of a lab: a bridge, and for each host its namespaces and its end of a veth pair.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::enter;
use crate::plan::{HostPlan, LabPlan};
use crate::registry;
use crate::run::{run, run_with_input};

/// Whether bridged packets pass through iptables; then any FORWARD rule of the machine, such as
/// the DROP that every dockerd sets, would cut the lab's bridge.
const BRIDGE_FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Where the value is kept that the machine had before the first lab.
const BRIDGE_FILTER_BEFORE: &str = "/run/jaco-lab/bridge-nf-call-iptables";

/// No name server of the machine is reachable from a host: refuse at once what would time out.
const NAME_SERVER_RULES: &str = "
table inet jaco_lab {
    chain output {
        type filter hook output priority -10;
        meta l4proto { tcp, udp } th dport 53 fib daddr type != local reject
    }
    chain forward {
        type filter hook forward priority -10;
        meta l4proto { tcp, udp } th dport 53 fib daddr type != local reject
    }
}
";

/// Makes the lab's bridge, which is also the machine's way to the hosts.
pub(crate) fn create_bridge(lab: &LabPlan) -> Result<()> {
    let bridge = lab.bridge();
    let commands = format!(
        "link add {bridge} type bridge\n\
         address add {address}/24 dev {bridge}\n\
         link set {bridge} up\n",
        address = lab.bridge_address()
    );
    run_with_input(Command::new("ip").args(["-batch", "-"]), &commands)
}

/// Makes a host's namespaces, its link to the bridge and its name server rules.
pub(crate) fn create_host(lab: &LabPlan, host: &HostPlan) -> Result<()> {
    fs::create_dir_all(&host.run_dir)?;
    fs::create_dir_all(&host.data_dir)?;
    let (net, uts) = (host.net_namespace(), host.uts_namespace());
    fs::write(&net, "")?;
    fs::write(&uts, "")?;
    run(Command::new("unshare")
        .arg(format!("--net={}", net.display()))
        .arg(format!("--uts={}", uts.display()))
        .args(["hostname", &host.name]))?;
    let links = format!(
        "link add {veth} type veth peer name eth0 netns {net}\n\
         link set {veth} master {bridge} up\n",
        veth = host.veth,
        net = net.display(),
        bridge = lab.bridge()
    );
    run_with_input(Command::new("ip").args(["-batch", "-"]), &links)?;
    // No default route: what is not the lab's fails at once instead of in a timeout.
    let inside =
        format!("link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\n", host.address);
    run_with_input(enter(host, "ip").args(["-batch", "-"]), &inside)?;
    refuse_name_servers(host)
}

/// Sets the host's name server rules, also again after all rules were flushed.
pub(crate) fn refuse_name_servers(host: &HostPlan) -> Result<()> {
    run_with_input(enter(host, "nft").args(["-f", "-"]), NAME_SERVER_RULES)
}

/// Lets bridged packets pass beside iptables, and remembers what the machine had before.
pub(crate) fn open_bridge_filter() -> Result<()> {
    let _lock = registry::lock()?;
    let Ok(before) = fs::read_to_string(BRIDGE_FILTER) else { return Ok(()) };
    if before.trim() == "1" {
        fs::write(BRIDGE_FILTER_BEFORE, &before)?;
        fs::write(BRIDGE_FILTER, "0").with_context(|| BRIDGE_FILTER.to_owned())?;
    }
    Ok(())
}

/// Gives the machine its value back; the caller has removed the last lab and holds the lock.
pub(crate) fn restore_bridge_filter() -> Result<()> {
    let Ok(before) = fs::read_to_string(BRIDGE_FILTER_BEFORE) else { return Ok(()) };
    fs::write(BRIDGE_FILTER, before).with_context(|| BRIDGE_FILTER.to_owned())?;
    fs::remove_file(BRIDGE_FILTER_BEFORE)?;
    Ok(())
}

/// Sets a link up or down.
pub(crate) fn set_link(name: &str, is_up: bool) -> Result<()> {
    run(Command::new("ip").args(["link", "set", name, if is_up { "up" } else { "down" }]))
}

/// Removes a link; one that is not there is no error.
pub(crate) fn remove_link(name: &str) -> Result<()> {
    if !Path::new("/sys/class/net").join(name).is_dir() {
        return Ok(());
    }
    run(Command::new("ip").args(["link", "delete", name]))
}

/// The lab's links on the machine's side: veth ends first, the bridge last.
pub(crate) fn links(lab: &LabPlan) -> Vec<String> {
    let bridge = lab.bridge();
    let prefix = format!("{bridge}-");
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).chain([bridge]).collect()
}

//! Connections that a container still has, from the kernel's table of its network namespace.

use crate::engine::Engine;
use crate::error::fault;
use jaco_runtime_core::EngineFault;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// `TCP_ESTABLISHED` of linux/net/tcp_states.h.
const ESTABLISHED: &str = "01";
/// What comes before an IPv4 address in an IPv6 one that stands for it (RFC 4291, 2.5.5.2), in the
/// table's notation on a little-endian and on a big-endian machine.
const MAPPED: [&str; 2] = ["0000000000000000FFFF0000", "00000000000000000000FFFF"];

impl Engine {
    /// How many established TCP connections a container has at these ports from these addresses.
    pub(crate) async fn connections(
        &self,
        container: &str,
        ports: &BTreeSet<u16>,
        from: &BTreeSet<Ipv4Addr>,
    ) -> Result<u32, EngineFault> {
        const OP: &str = "count connections";
        let found = self.asking().inspect_container(container, None).await;
        let found = found.map_err(|error| fault(OP, &error))?;
        let pid = found.state.and_then(|state| state.pid).unwrap_or_default();
        let mut count = 0;
        for table in ["tcp", "tcp6"] {
            let path = format!("/proc/{pid}/net/{table}");
            match tokio::fs::read_to_string(&path).await {
                Ok(text) => count += established(&text, ports, from),
                // A kernel without IPv6 has no second table.
                Err(error) if table == "tcp6" && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let reason = format!("{path}: {error}");
                    return Err(EngineFault { op: OP, reason, retry: true });
                }
            }
        }
        Ok(count)
    }
}

/// The lines of a table (proc_pid_net(5), `/proc/net/tcp`) that are established connections of
/// these ports with these peers.
fn established(table: &str, ports: &BTreeSet<u16>, from: &BTreeSet<Ipv4Addr>) -> u32 {
    let is_counted = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(peer), Some(ESTABLISHED)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return false;
        };
        let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        port.is_some_and(|port| ports.contains(&port))
            && peer
                .rsplit_once(':')
                .and_then(|(host, _)| address(host))
                .is_some_and(|peer| from.contains(&peer))
    };
    u32::try_from(table.lines().filter(is_counted).count()).unwrap_or(u32::MAX)
}

/// An IPv4 address as the kernel writes it: a number in the machine's order of bytes.
fn address(text: &str) -> Option<Ipv4Addr> {
    let word = MAPPED.iter().find_map(|mapped| text.strip_prefix(mapped)).unwrap_or(text);
    let number = u32::from_str_radix(word, 16).ok().filter(|_| word.len() == 8)?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1
   1: 0220500A:1F90 0120500A:C350 01 00000000:00000000 00:00000000 00000000 0 0 2
   2: 0220500A:1F90 0120500A:C351 06 00000000:00000000 00:00000000 00000000 0 0 3
   3: 0220500A:1F91 0120500A:C352 01 00000000:00000000 00:00000000 00000000 0 0 4
   4: 0220500A:1F90 0320500A:C353 01 00000000:00000000 00:00000000 00000000 0 0 5
";
    const TABLE6: &str =
        "  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0
   1: 0000000000000000FFFF00000220500A:1F90 0000000000000000FFFF00000120500A:C350 01 0
   2: 000080FE00000000FF9B3C02D4E1B5FE:1F90 000080FE00000000FF9B3C02D4E1B5FE:C350 01 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn counts_what_is_established_with_a_front_door() {
        let gateway = BTreeSet::from([Ipv4Addr::new(10, 80, 32, 1)]);
        let ports = BTreeSet::from([8080]);
        assert_eq!(established(TABLE, &ports, &gateway), 1);
        assert_eq!(established(TABLE6, &ports, &gateway), 1);
        let both = BTreeSet::from([Ipv4Addr::new(10, 80, 32, 1), Ipv4Addr::new(10, 80, 32, 3)]);
        assert_eq!(established(TABLE, &BTreeSet::from([8080, 8081]), &both), 3);
        assert_eq!(established(TABLE, &ports, &BTreeSet::new()), 0);
        assert_eq!(established("nonsense\n\n: : 01", &ports, &gateway), 0);
    }
}

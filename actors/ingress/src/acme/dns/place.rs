//! Where a record belongs: the end of aliases, its zone, the zone's servers.

use super::DnsError;
use crate::acme::lookup::{self, LookupError, PORT, Resolvers};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::SocketAddr;

/// Aliases that are followed.
const ALIASES_MAX: usize = 8;

/// The name at the end of all aliases.
pub(super) async fn canonical(resolvers: &Resolvers, name: Name) -> Result<Name, DnsError> {
    let mut at = name.clone();
    for _ in 0..ALIASES_MAX {
        let answer = resolvers.ask(&at, RecordType::CNAME).await?;
        match alias(&answer, &at) {
            Some(next) => at = next,
            None => return Ok(at),
        }
    }
    let name = lookup::text(&name);
    Err(DnsError::Settings(format!("{name} has a chain of more than {ALIASES_MAX} aliases")))
}

fn alias(answer: &Message, name: &Name) -> Option<Name> {
    answer.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *name => Some(target.0.to_lowercase()),
        _ => None,
    })
}

/// The zone of a name, as one server tells it; `None` when that server has no zone of it.
pub(super) async fn zone_at(server: SocketAddr, name: &Name) -> Result<Option<Name>, LookupError> {
    let mut at = name.clone();
    while !at.is_root() {
        match lookup::ask(server, &at, RecordType::SOA, false).await {
            Ok(answer) => {
                if let Some(zone) = start_of_zone(&answer, name) {
                    return Ok(Some(zone));
                }
            }
            // Servers refuse what is in no zone of theirs.
            Err(LookupError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        at = at.base_name();
    }
    Ok(None)
}

/// The servers of a name's zone; empty when resolvers know no zone or no servers of it.
pub(super) async fn authoritative(
    resolvers: &Resolvers,
    name: &Name,
) -> Result<Vec<SocketAddr>, LookupError> {
    let mut at = name.clone();
    let mut zone = None;
    while !at.is_root() && zone.is_none() {
        zone = match resolvers.ask(&at, RecordType::SOA).await {
            Ok(answer) => start_of_zone(&answer, name),
            // Small resolvers know few kinds of records.
            Err(LookupError::Refused { code, .. }) if code == lookup::NOT_IMPLEMENTED => None,
            Err(error) => return Err(error),
        };
        at = at.base_name();
    }
    let Some(zone) = zone else { return Ok(Vec::new()) };
    let answer = resolvers.ask(&zone, RecordType::NS).await?;
    let mut servers = Vec::new();
    for record in &answer.answers {
        let RData::NS(host) = &record.data else { continue };
        for address in resolvers.addresses(&host.0).await? {
            let server = SocketAddr::new(address, PORT);
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    Ok(servers)
}

/// The owner of the SOA record that an answer has for a name, in whichever section. The root is no
/// zone of anybody's.
fn start_of_zone(answer: &Message, name: &Name) -> Option<Name> {
    let mut records = answer.answers.iter().chain(&answer.authorities);
    let found = records.find(|record| {
        let is_start = matches!(record.data, RData::SOA(_));
        is_start && !record.name.is_root() && record.name.zone_of(name)
    });
    found.map(|record| record.name.to_lowercase())
}

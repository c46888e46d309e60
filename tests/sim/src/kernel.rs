//! The packet filter and the tunnel of one host. They belong to the host, not to a daemon: a killed
//! daemon leaves them as they are.

use crate::queue::Micros;
use jaco_firewall_core::{Delta, Fault, FaultKind, Found, Ruleset, Written};
use jaco_netmesh_core::Installed;

/// How long a table that somebody deleted may be unnoticed before no container may be started any
/// more: the kernel's word, a mailbox, one order that is already on its way.
const NOTICED_WITHIN: Micros = 3 * crate::queue::SECOND;

/// One table, and the generation that every change of it raises.
#[derive(Debug)]
pub(crate) struct Kernel {
    table: Option<Ruleset>,
    generation: u32,
    /// From when on the daemon may know that the table is not there.
    missing_since: Micros,
    /// What the mesh has here.
    pub(crate) tunnel: Installed,
}

impl Kernel {
    /// A kernel that was never written to.
    pub(crate) fn new() -> Kernel {
        Kernel { table: None, generation: 1, missing_since: 0, tunnel: Installed::default() }
    }

    pub(crate) fn table(&self) -> Option<&Ruleset> {
        self.table.as_ref()
    }

    pub(crate) fn write(&mut self, ruleset: &Ruleset) -> Written {
        self.table = Some(ruleset.clone());
        self.generation += 1;
        Written { generation: self.generation }
    }

    pub(crate) fn write_elements(
        &mut self,
        delta: &Delta,
        generation: u32,
    ) -> Result<Written, Fault> {
        let table = self.table.as_mut().filter(|_| generation == self.generation);
        let Some(table) = table else {
            let message = "somebody else wrote in between".to_owned();
            return Err(Fault { kind: FaultKind::Overtaken, message });
        };
        delta.apply(table);
        self.generation += 1;
        Ok(Written { generation: self.generation })
    }

    pub(crate) fn read(&self) -> Found {
        Found { ruleset: self.table.clone(), generation: self.generation }
    }

    /// Somebody deletes the table; the daemon can know it from `told` on.
    pub(crate) fn flush(&mut self, told: Micros) {
        if self.table.take().is_some() {
            self.missing_since = told;
        }
        self.generation += 1;
    }

    /// The daemon stood still until now and could not notice anything.
    pub(crate) fn wakes(&mut self, now: Micros) {
        self.missing_since = self.missing_since.max(now);
    }

    /// Whether a container may be started as far as the daemon can know.
    pub(crate) fn guards(&self, now: Micros) -> bool {
        self.table.is_some() || now < self.missing_since + NOTICED_WITHIN
    }
}

//! How large a packet may be: from the way to the peers, and from full-size probes.

use crate::settings::{MTU_CAP, MTU_FLOOR, MTU_STEP, OVERHEAD};

/// The size of the tunnel's packets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes {
    /// Smallest MTU on the way to any peer, in bytes.
    underlay: Option<u32>,
    /// By how much probes have lowered it since, in bytes.
    lowered: u16,
}

impl Sizes {
    /// Takes note of the way; another way starts from its full size again.
    pub(crate) fn underlay(&mut self, mtu: Option<u32>) {
        if mtu.is_some() && mtu != self.underlay {
            self.underlay = mtu;
            self.lowered = 0;
        }
    }

    /// What the way allows: its MTU less the tunnel's own bytes, between floor and cap.
    pub(crate) fn path(&self) -> u16 {
        let mtu = self.underlay.unwrap_or(u32::from(MTU_CAP) + OVERHEAD).saturating_sub(OVERHEAD);
        u16::try_from(mtu).unwrap_or(MTU_CAP).clamp(MTU_FLOOR, MTU_CAP)
    }

    /// The size to use where the state wants `wanted`; a fixed one is only lowered by probes.
    pub(crate) fn mtu(&self, wanted: u16, is_fixed: bool) -> u16 {
        let top = if is_fixed { wanted } else { wanted.min(self.path()) };
        top.saturating_sub(self.lowered).max(top.min(MTU_FLOOR))
    }

    /// One step down; `None` at the floor.
    pub(crate) fn lower(&mut self, wanted: u16, is_fixed: bool) -> Option<u16> {
        let before = self.mtu(wanted, is_fixed);
        self.lowered = self.lowered.saturating_add(MTU_STEP);
        let after = self.mtu(wanted, is_fixed);
        (after < before).then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tunnel_takes_what_the_way_leaves() {
        for (way, mtu) in
            [(1500, 1420), (1460, 1380), (1400, 1320), (1280, 1280), (9000, 1420), (65_536, 1420)]
        {
            let mut sizes = Sizes::default();
            sizes.underlay(Some(way));
            assert_eq!(sizes.mtu(MTU_CAP, false), mtu, "{way}");
        }
        let mut jumbo = Sizes::default();
        jumbo.underlay(Some(9000));
        assert_eq!(jumbo.mtu(8920, true), 8920);
    }

    #[test]
    fn lost_packets_lower_it_to_the_floor_until_the_way_changes() {
        let mut sizes = Sizes::default();
        sizes.underlay(Some(1500));
        let steps: Vec<u16> = std::iter::from_fn(|| sizes.lower(MTU_CAP, false)).collect();
        assert_eq!(steps, [1400, 1380, 1360, 1340, 1320, 1300, 1280]);
        sizes.underlay(None);
        sizes.underlay(Some(1500));
        assert_eq!(sizes.mtu(MTU_CAP, false), 1280);
        sizes.underlay(Some(1460));
        assert_eq!(sizes.mtu(MTU_CAP, false), 1380);
    }
}

//! That nothing runs before the filter stands: looks at a host all the time while it comes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use jaco_lab::Host;

use crate::pause::pause;
use crate::run::Run;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until it is asked.
#[derive(Debug)]
pub struct Gate {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Gate {
    /// Begins to look at a host.
    #[must_use]
    pub fn watch(host: &Host) -> Gate {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, host) = (Arc::clone(&stop), host.clone());
        let thread = thread::spawn(move || {
            let mut looks = 0;
            while !stopped.load(Ordering::Relaxed) {
                look(&host)?;
                looks += 1;
                pause(LOOK);
            }
            Ok(looks)
        });
        Gate { stop, thread }
    }

    /// Ends it; gives how often it has looked.
    ///
    /// # Errors
    /// When a container ran while there was no table.
    pub fn held(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the gate panicked"))?
    }
}

/// First who runs, then whether there is a table: what ran before is without a filter if there is
/// none even now.
fn look(host: &Host) -> Result<()> {
    let running = host.engine().get("/containers/json").unwrap_or_default();
    let running = running.as_array().map_or(0, Vec::len);
    if running == 0 {
        return Ok(());
    }
    let chain = ["list", "chain", "inet", "jaco", "forward"];
    let shown = Run::of(host.command("nft").args(chain))?;
    ensure!(shown.code == Some(0), "{running} containers run on {} without a filter", host.name());
    Ok(())
}
